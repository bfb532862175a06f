package peer

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/pion/logging"
)

// pionLogs hands pion's warnings and errors to slog, as debugging aids: what goes wrong inside one client's connection is that client's
// doing, and its words may hold the client's addresses. Finer levels are not formatted at all.
type pionLogs struct{ logger *slog.Logger }

// NewLogger implements logging.LoggerFactory.
func (f pionLogs) NewLogger(scope string) logging.LeveledLogger {
	return pionLog{f.logger.With(slog.String("pion", scope))}
}

type pionLog struct{ logger *slog.Logger }

func (pionLog) Trace(string)          {}
func (pionLog) Tracef(string, ...any) {}
func (pionLog) Debug(string)          {}
func (pionLog) Debugf(string, ...any) {}
func (pionLog) Info(string)           {}
func (pionLog) Infof(string, ...any)  {}

func (l pionLog) Warn(m string)             { l.say(m) }
func (l pionLog) Warnf(f string, a ...any)  { l.format(f, a) }
func (l pionLog) Error(m string)            { l.say(m) }
func (l pionLog) Errorf(f string, a ...any) { l.format(f, a) }

func (l pionLog) format(f string, a []any) {
	if l.logger.Enabled(context.Background(), slog.LevelDebug) {
		l.say(fmt.Sprintf(f, a...))
	}
}

func (l pionLog) say(m string) { l.logger.Debug("pion says", slog.String("text", m)) }
