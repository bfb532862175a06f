# Sluice. `make help` lists what there is; the README says what it is for.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

SDK := services/edge/web/sdk
MODULES := proto pkg services/edge services/router services/ctl deploy/e2e
VERSION ?= $(shell git describe --always --dirty 2>/dev/null || echo devel)
LDFLAGS := -s -w -X github.com/sluice-dev/sluice/pkg/serve.version=$(VERSION)

# Downloads and built tools are kept outside of the clone, so that a second clone need not fetch them again. .cache is a link to them.
SLUICE_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/sluice
TOOLS := $(SLUICE_CACHE)/bin/$(shell sha256sum .tools/go.mod | cut -c1-12)
HELM := $(SLUICE_CACHE)/bin/helm-$(shell sha256sum .tools/helm/go.mod | cut -c1-12)

# The router's configuration of `make run`, and the bounds of the long targets.
FUZZTIME ?= 20s
BENCHTIME ?= 1s
ROUTER ?= deploy/config/router.yaml
BENCH ?= loss cpu batch triton transport go
CELL ?= 12s
BENCHFLAGS ?= $(if $(QUICK),-quick)
E2E ?=
SOAK ?= 2m
OVERLAY ?= 3m
IMAGES ?= edge router

.PHONY: help
help: ## This list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  \033[1mmake %-10s\033[0m %s\n", $$1, $$2}'

##@ What a user needs

.PHONY: run
run: build models ## Build and start router and edge with the embedded models, or with those of ROUTER=router.yaml; Ctrl-C ends both
	@deploy/run.sh $(ROUTER)

.PHONY: build
build: deps-build ## Build bin/sluice-edge, sluice-decoder, sluice-router and sluicectl
	@mkdir -p bin
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./services/edge/cmd/sluice-edge ./services/ctl/cmd/sluicectl
	CGO_ENABLED=1 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./services/edge/cmd/sluice-decoder ./services/router/cmd/sluice-router

.PHONY: test
test: deps-test models clips sdk-node ## Every test but the long ones, with the race detector
	go vet work
	go test -race -timeout 10m work
	go test -run '^TestEdgeCase21' ./services/edge/internal/session  # once more without the race detector, which one of them cannot have
	go test -run '^TestWatermark$$' ./services/router/internal/dispatch  # all of its million frames: with the race detector it sends a tenth
	go test ./pkg/batch/batchtest  # the whole table of simulations: with the race detector it is an eighth
	cd $(SDK) && node build.mjs --tests
	node --test $$(git ls-files -co --exclude-standard '*.test.mjs')

.PHONY: e2e
e2e: deps-e2e build tools models clips e2e-node sdk-node oipstub ## Real browsers, real model servers, real clips (E2E=regexp for some of them; OVERLAY=3m, how long each browser's overlay is watched)
	OVERLAY=$(OVERLAY) PATH=$(TOOLS):$$PATH go test -count 1 -tags e2e -timeout 35m -p 1 -parallel 32 -v $(if $(E2E),-run '$(E2E)') ./deploy/e2e/...

.PHONY: k8s-test
k8s-test: deps-k8s build clips chart-tools ## A real Kubernetes node: the chart installed, rolled, drained and scaled under live sessions (needs root; K8S_OPTIONAL=1: where it cannot run, that is no error)
	@HELM=$(HELM)/helm K8S_TAG=$(VERSION) deploy/e2e/k8s/run.sh

.PHONY: soak
soak: deps-e2e build models clips ## Sessions opened, closed and broken off in every way; then nothing of them may be left (SOAK=2m, an hour by hand)
	SOAK=$(SOAK) go test -count 1 -tags soak -timeout 24h -v ./deploy/e2e/soak

.PHONY: bench
bench: deps-bench build $(if $(filter loss cpu go,$(BENCH)),models clips) $(if $(filter loss cpu,$(BENCH)),bench-native) $(if $(filter batch,$(BENCH)),oipstub) ## Packet loss, processor time beside the peers, the scheduler beside others' rules and a real Triton, the transport, micro-benchmarks (BENCH="loss cpu batch triton transport go" CELL=12s BENCHTIME=1s)
	@mkdir -p .build/bench && go build -o .build/bench/bench ./deploy/e2e/bench
	@status=0; \
	parts="$(filter-out go,$(BENCH))"; [ -z "$$parts" ] || .build/bench/bench -cell $(CELL) $(BENCHFLAGS) $$parts || status=$$?; \
	case " $(BENCH) " in *" go "*) $(MAKE) bench-go || status=$$? ;; esac; \
	exit $$status

.PHONY: bench-go
bench-go:
	go test -run '^$$' -bench . -benchmem -benchtime $(BENCHTIME) work | \
	  awk '/^(ok|PASS|\?|goos|goarch)/ || /^cpu/ && seen++ { next } { sub("^pkg: github.com/sluice-dev/sluice/", "\n"); print }'

.PHONY: oipstub
oipstub: deps-build
	@CGO_ENABLED=0 go build -o .build/oipstub ./deploy/e2e/bench/oipstub

.PHONY: bench-native
bench-native: .build/bench/encoder .build/bench/reference .build/bench/limit .build/bench/camera-720p30.ivf
.build/bench/camera-720p30.ivf: deploy/e2e/bench/clips.sh | clips
	@deploy/e2e/bench/clips.sh .build/bench
.build/bench/%: deploy/e2e/bench/native/%.c deploy/e2e/bench/native/scene.h | deps-bench
	@mkdir -p $(@D)
	gcc -O2 -std=gnu17 -Wall -Wextra -Werror -o $@ $< $$(pkg-config --cflags --libs libavcodec libavutil) -lyuv

.PHONY: fuzz
fuzz: deps-test ## Every fuzz target for a while (FUZZTIME=20s)
	@.tools/fuzz.sh $(FUZZTIME)

.PHONY: images
images: deps-images build models oipstub ## Build the images of edge and router, without a registry, as archives in .build/images (IMAGES="edge router stub"; LOCKED=1 refuses packages that are not those of packages.lock)
	@deploy/images/build.sh "$(VERSION)" $(IMAGES)

##@ What an engineer needs

.PHONY: lint
lint: deps-lint tools .build/protovalidate sdk-node ## Formatting, linters, types, module files, the protobuf contract, generated code
	test -z "$$(gofmt -l $$(git ls-files -co --exclude-standard '*.go' ':!proto/gen') | tee /dev/stderr)"
	for m in $(MODULES); do (cd $$m && go mod tidy -diff) || exit 1; done
	for m in $(MODULES); do (cd $$m && $(TOOLS)/golangci-lint run --build-tags e2e,soak,k8s,chart ./...) || exit 1; done
	cd $(SDK) && node_modules/.bin/tsc && node_modules/.bin/tsc -p ../page
	promtool check config deploy/observe/prometheus.yml
	promtool check rules deploy/observe/rules/*.yml
	promtool test rules deploy/observe/rules/tests/*.yml
	$(TOOLS)/buf lint
	$(TOOLS)/buf format -d --exit-code
	TOOLS=$(TOOLS) .tools/breaking.sh
	$(MAKE) generate
	git diff --exit-code -- proto/gen $(SDK)
	for m in $(MODULES); do (cd $$m && GOWORK=off go build ./...) || exit 1; done
	$(MAKE) lint-chart

.PHONY: lint-chart
lint-chart: chart-tools build models ## Lint the Helm chart, render it with each file of its ci folder, check the objects against Kubernetes' own schemas, and what neither can see
	.tools/helm/check.sh $(HELM) $(SLUICE_CACHE)
	HELM=$(HELM)/helm go test -count 1 -tags chart ./deploy/e2e/chart

.PHONY: generate
generate: tools .build/protovalidate generate-sdk ## Write anew the Go code of the protobuf contract and the browser SDK's module
	$(TOOLS)/buf generate proto

.PHONY: generate-sdk
generate-sdk: sdk-node
	cd $(SDK) && node build.mjs

.PHONY: models
models: .cache ## Fetch the embedded models and ONNX Runtime, checked by checksum
	@python3 deploy/models/fetch.py

.PHONY: clips
clips: .cache deps-test ## Make the test clips
	@deploy/e2e/clips/make.sh

.PHONY: e2e-node
e2e-node:
	@cd deploy/e2e/browser && PUPPETEER_SKIP_DOWNLOAD=1 npm ci --silent --no-audit --no-fund

.PHONY: sdk-node
sdk-node: $(SDK)/node_modules/.package-lock.json
$(SDK)/node_modules/.package-lock.json: $(SDK)/package-lock.json
	@cd $(SDK) && npm ci --silent --no-audit --no-fund --ignore-scripts
	@touch $@

.PHONY: deps-build deps-test deps-lint deps-e2e deps-k8s deps-bench deps-images
deps-build:
	@.tools/deps.sh build
deps-test:
	@.tools/deps.sh build test
deps-lint:
	@.tools/deps.sh build lint
deps-e2e:
	@.tools/deps.sh build test e2e
deps-k8s:
	@.tools/deps.sh build k8s
deps-bench:
	@.tools/deps.sh build test bench
deps-images:
	@.tools/deps.sh build images

.PHONY: tools
tools: $(TOOLS)/.built
$(TOOLS)/.built: | .tools/go.mod
	@echo "Building buf, golangci-lint and grpcurl; the first time this takes some minutes"
	@mkdir -p $(TOOLS)
	GOWORK=off GOBIN=$(TOOLS) go -C .tools install tool
	@touch $@

.PHONY: chart-tools
chart-tools: $(HELM)/.built
$(HELM)/.built: | .tools/helm/go.mod
	@echo "Building helm and kubeconform; the first time this takes some minutes"
	@mkdir -p $(HELM)
	GOWORK=off GOBIN=$(HELM) CGO_ENABLED=0 go -C .tools/helm install -trimpath -ldflags '-s -w' tool
	@touch $@

.build/protovalidate: .tools/protovalidate.sh
	@.tools/protovalidate.sh $@ && touch $@

.cache:
	@mkdir -p $(SLUICE_CACHE) && ln -sfn $(SLUICE_CACHE) .cache

.PHONY: clean
clean: ## Remove what was built here (the downloads stay in the cache)
	rm -rf bin .build .cache deploy/e2e/browser/node_modules $(SDK)/node_modules $(SDK)/build
