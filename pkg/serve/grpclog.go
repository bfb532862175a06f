package serve

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"google.golang.org/grpc/grpclog"
)

// RouteGRPCLogs hands what grpc-go says by itself to slog's default logger, whichever that is at the time; otherwise it would write lines of its own format to
// standard error. grpc-go wants it called before anything else of gRPC is used: main calls it, first of all, and sets slog's default once the configuration is known.
func RouteGRPCLogs() { grpclog.SetLoggerV2(grpcLogs{slog.Default}) }

// grpcLogs is a grpclog.LoggerV2. Connections come and go, which whoever uses them reports in words of its own: only errors are shown by default.
type grpcLogs struct{ logger func() *slog.Logger }

func (g grpcLogs) say(level slog.Level, text func() string) {
	if l := g.logger(); l.Enabled(context.Background(), level) {
		l.Log(context.Background(), level, "gRPC says", slog.String("text", strings.TrimSpace(text())))
	}
}

func (g grpcLogs) print(level slog.Level, a []any) {
	g.say(level, func() string { return fmt.Sprintln(a...) })
}

func (g grpcLogs) printf(level slog.Level, format string, a []any) {
	g.say(level, func() string { return fmt.Sprintf(format, a...) })
}

func (g grpcLogs) Info(a ...any)               { g.print(slog.LevelDebug, a) }
func (g grpcLogs) Infoln(a ...any)             { g.print(slog.LevelDebug, a) }
func (g grpcLogs) Infof(f string, a ...any)    { g.printf(slog.LevelDebug, f, a) }
func (g grpcLogs) Warning(a ...any)            { g.print(slog.LevelDebug, a) }
func (g grpcLogs) Warningln(a ...any)          { g.print(slog.LevelDebug, a) }
func (g grpcLogs) Warningf(f string, a ...any) { g.printf(slog.LevelDebug, f, a) }
func (g grpcLogs) Error(a ...any)              { g.print(slog.LevelWarn, a) }
func (g grpcLogs) Errorln(a ...any)            { g.print(slog.LevelWarn, a) }
func (g grpcLogs) Errorf(f string, a ...any)   { g.printf(slog.LevelWarn, f, a) }

// Fatal and its like end the process, as the interface demands.
func (g grpcLogs) Fatal(a ...any) {
	g.print(slog.LevelError, a)
	os.Exit(1)
}

func (g grpcLogs) Fatalln(a ...any) { g.Fatal(a...) }

func (g grpcLogs) Fatalf(f string, a ...any) { g.Fatal(fmt.Sprintf(f, a...)) }

// V leaves out what grpc-go itself leaves out unless it is asked for.
func (g grpcLogs) V(level int) bool { return level <= 0 }
