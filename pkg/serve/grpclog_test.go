package serve

import (
	"bytes"
	"log/slog"
	"testing"

	"google.golang.org/grpc/grpclog"
)

func TestGRPCLogs(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		level slog.Level
		say   func(grpclog.LoggerV2)
		want  string
	}{
		"an error":                    {slog.LevelInfo, func(l grpclog.LoggerV2) { l.Errorf("lost %d\n", 3) }, "level=WARN msg=\"gRPC says\" text=\"lost 3\"\n"},
		"an error in parts":           {slog.LevelInfo, func(l grpclog.LoggerV2) { l.Error("lost", 3) }, "level=WARN msg=\"gRPC says\" text=\"lost 3\"\n"},
		"a warning":                   {slog.LevelInfo, func(l grpclog.LoggerV2) { l.Warning("reconnecting") }, ""},
		"a warning, when debugging":   {slog.LevelDebug, func(l grpclog.LoggerV2) { l.Warningln("reconnecting") }, "level=DEBUG msg=\"gRPC says\" text=reconnecting\n"},
		"information, when debugging": {slog.LevelDebug, func(l grpclog.LoggerV2) { l.Infof("%s", "ready") }, "level=DEBUG msg=\"gRPC says\" text=ready\n"},
		"information":                 {slog.LevelInfo, func(l grpclog.LoggerV2) { l.Info("ready") }, ""},
		"nothing verbose": {slog.LevelDebug, func(l grpclog.LoggerV2) {
			if l.V(2) {
				l.Info("verbose")
			}
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			noTime := func(_ []string, a slog.Attr) slog.Attr {
				if a.Key == slog.TimeKey {
					return slog.Attr{}
				}
				return a
			}
			logger := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: c.level, ReplaceAttr: noTime}))
			c.say(grpcLogs{func() *slog.Logger { return logger }})
			if out.String() != c.want {
				t.Errorf("logged %q, want %q", out.String(), c.want)
			}
		})
	}
}
