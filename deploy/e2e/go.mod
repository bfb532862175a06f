module github.com/sluice-dev/sluice/deploy/e2e

go 1.26.7

require (
	github.com/sluice-dev/sluice/pkg v0.0.0
	github.com/sluice-dev/sluice/proto v0.0.0
)

require (
	github.com/prometheus/client_model v0.6.3 // indirect
	github.com/prometheus/common v0.73.1 // indirect
	github.com/stretchr/testify v1.12.1 // indirect
	go.uber.org/goleak v1.3.0 // indirect
	golang.org/x/net v0.61.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/text v0.43.0 // indirect
	google.golang.org/genproto/googleapis/rpc v0.0.0-20260819154853-08b0e4226688 // indirect
	google.golang.org/grpc v1.85.0 // indirect
	google.golang.org/protobuf v1.36.12 // indirect
)

replace github.com/sluice-dev/sluice/proto => ../../proto

replace github.com/sluice-dev/sluice/pkg => ../../pkg
