// Command sluice-edge receives media from browsers and cameras over WebRTC, decodes what models are due to see, sends it to routers, and
// gives the answers back.
package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	shared "github.com/sluice-dev/sluice/pkg/config"
	"github.com/sluice-dev/sluice/pkg/serve"
	"github.com/sluice-dev/sluice/services/edge/internal/app"
	"github.com/sluice-dev/sluice/services/edge/internal/config"
)

func main() {
	serve.RouteGRPCLogs()
	if err := command().Execute(); err != nil {
		fmt.Fprintln(os.Stderr, "sluice-edge:", err)
		os.Exit(1)
	}
}

// command is the command line. Its flags are the configuration's keys.
func command() *cobra.Command {
	var file string
	var check bool
	cfg := config.Default()
	c := &cobra.Command{
		Use:   "sluice-edge",
		Short: "Carry live media from browsers and cameras to model routers, and the answers back",
		Long: "sluice-edge receives media over WebRTC, decodes what models are due to see, sends it to routers and gives the answers back.\n\n" +
			"Each key of the configuration file is a flag and, in brackets, an environment variable: flags win over variables, those over the\n" +
			"file, and the file over the defaults. SIGTERM drains; a second one stops.",
		Args: cobra.NoArgs, Version: serve.Version(), SilenceUsage: true, SilenceErrors: true,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := shared.Load(c.Flags(), file, os.Environ(), &cfg); err != nil {
				return err
			}
			if err := cfg.Validate(); err != nil {
				return err
			}
			if check {
				return app.Check(cfg)
			}
			ctx, stop := serve.Signals()
			defer stop()
			log := logger(os.Stderr, cfg.Log)
			slog.SetDefault(log) // for libraries that log by themselves
			return app.Run(ctx, cfg, log)
		},
	}
	c.Flags().StringVar(&file, "config", "", "configuration file (YAML)")
	c.Flags().BoolVar(&check, "check-config", false, "check the configuration and the files it names, and exit")
	c.Flags().SortFlags = false
	shared.Bind(c.Flags(), &cfg)
	return c
}

func logger(w io.Writer, cfg config.Log) *slog.Logger {
	options := &slog.HandlerOptions{Level: cfg.Level}
	if cfg.Format == "json" {
		return slog.New(serve.QuietLogs(slog.NewJSONHandler(w, options)))
	}
	return slog.New(serve.QuietLogs(slog.NewTextHandler(w, options)))
}
