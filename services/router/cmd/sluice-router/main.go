// Command sluice-router batches frames of all sessions for the models and answers with typed results.
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"

	sharedconfig "github.com/sluice-dev/sluice/pkg/config"
	"github.com/sluice-dev/sluice/pkg/serve"
	"github.com/sluice-dev/sluice/services/router/internal/config"
)

func main() {
	serve.RouteGRPCLogs()
	ctx, stop := serve.Signals()
	hangups, ignore := serve.Hangups()
	err := command(os.Environ(), hangups, os.Stderr).ExecuteContext(ctx)
	ignore()
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "sluice-router:", err)
		os.Exit(1)
	}
}

// command gives the command line. With each hangup a running router reads its configuration again.
func command(environ []string, hangups <-chan os.Signal, logs io.Writer) *cobra.Command {
	defaults := config.Default()
	var file string
	var check bool
	cmd := &cobra.Command{
		Use:   "sluice-router",
		Short: "Takes frames from Sluice edges to ML models, batched across sessions, and answers before they are stale",
		Long: "Takes frames from Sluice edges to ML models, batched across sessions, and answers before they are stale.\n\n" +
			"SIGTERM drains and ends it, a second one ends it at once. SIGHUP has it read the configuration again: models are added, changed and removed\n" +
			"while sessions go on. What --check-config refuses, SIGHUP refuses too, and all stays as it was. With --watch it looks by itself whether the file has changed.",
		Version:       serve.Version(),
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			load := func() (*config.Config, error) {
				c := config.Default()
				if err := c.Load(cmd.Flags(), file, environ); err != nil {
					return nil, err
				}
				return &c, c.CheckFiles()
			}
			again := &reloads{load: load, hangups: hangups, file: file}
			_, _ = again.seen.Changed(file) // Whether it is there, load tells.
			c, err := load()
			if err != nil {
				return err
			}
			again.every = time.Duration(c.Watch)
			if check {
				_, err := fmt.Fprintln(cmd.OutOrStdout(), "the configuration is valid")
				return err
			}
			log := logger(c.Log, logs)
			slog.SetDefault(log) // for libraries that log by themselves
			return start(cmd.Context(), c, again, log)
		},
	}
	cmd.Flags().StringVar(&file, "config", "", "configuration file (YAML)")
	cmd.Flags().BoolVar(&check, "check-config", false, "check the configuration and the files that it names, and end")
	sharedconfig.Bind(cmd.Flags(), &defaults)
	return cmd
}

// start opens what the configuration names and runs the router until ctx ends and it has drained.
func start(ctx context.Context, c *config.Config, again *reloads, logger *slog.Logger) error {
	grpc, err := serve.Listen("listen", c.Listen)
	if err != nil {
		return err
	}
	defer grpc.Close()
	admin, err := serve.Listen("admin.listen", c.Admin.Listen)
	if err != nil {
		return err
	}
	defer admin.Close()
	r, err := newRouter(c, again, logger) //nolint:contextcheck // connections to model servers end when the router closes
	if err != nil {
		return err
	}
	return r.run(ctx, grpc, admin)
}

func logger(c config.Log, to io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: c.Level}
	if c.Format == "json" {
		return slog.New(serve.QuietLogs(slog.NewJSONHandler(to, options)))
	}
	return slog.New(serve.QuietLogs(slog.NewTextHandler(to, options)))
}
