// Package service calls the inspection of an edge or a router.
package service

import (
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
)

// Connection is the way to a service's inspection. Close must be called.
type Connection struct {
	sluicev1.InspectServiceClient
	address string
	conn    *grpc.ClientConn
}

// Connect prepares calls of the service at a gRPC address, host:port. It does not wait for the service.
func Connect(address string) (*Connection, error) {
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, fmt.Errorf("%q is no gRPC address: write host:port: %w", address, err)
	}
	return &Connection{InspectServiceClient: sluicev1.NewInspectServiceClient(conn), address: address, conn: conn}, nil
}

// Close ends the connection and all its calls.
func (c *Connection) Close() { _ = c.conn.Close() } // fails only when closed already

// Explain puts the error of a call into words that say what to do.
func (c *Connection) Explain(err error) error {
	switch status.Code(err) {
	case codes.Unavailable:
		return fmt.Errorf("no answer at %s: is the service running, and is this its gRPC address (edge 50052, router 50051)? %w", c.address, err)
	case codes.NotFound, codes.InvalidArgument:
		return fmt.Errorf("%s: %s", c.address, status.Convert(err).Message())
	case codes.Unimplemented:
		return fmt.Errorf("%s cannot tell: ask an edge (gRPC port 50052), of the same version: %w", c.address, err)
	default:
		return fmt.Errorf("ask %s: %w", c.address, err)
	}
}
