// Package serve is the shell of a Sluice process: signals, listeners, the admin endpoints and the gRPC server with its middleware. It is the one package under pkg that
// starts goroutines; each is joined by the function that started it.
package serve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"
)

// version is set by the linker (-X); a build without it says "devel" and the commit, if the toolchain recorded one.
var version string

// Version gives the version of the running binary.
func Version() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				return "devel-" + s.Value[:min(12, len(s.Value))]
			}
		}
	}
	return "devel"
}

// Signals gives a context that ends at the first SIGTERM or interrupt: the process then drains. A second one ends the process at once with status 1. The caller calls stop
// when the process is done; it releases the signals and joins the goroutine behind them.
func Signals() (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	done, joined := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(joined)
		for seen := 0; ; seen++ {
			select {
			case <-done:
				return
			case <-signals:
				cancel()
				if seen > 0 {
					os.Exit(1)
				}
			}
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(done)
		<-joined
		cancel()
	}
}

// Hangups gives a channel that holds a value when SIGHUP has come since the last one was taken. From now on the signal does not end the process. The caller calls stop when the
// process is done.
func Hangups() (hangups <-chan os.Signal, stop func()) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGHUP)
	return signals, func() { signal.Stop(signals) }
}

// Listen opens a TCP listener. Its errors name the configuration key that the address came from and say what to do.
func Listen(key, address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	return l, ExplainListen(key, address, err)
}

// ExplainListen turns the error of a listen or bind into one that names the configuration key and says what to do; nil stays nil.
func ExplainListen(key, address string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%s: %s is taken by another process: stop that process or set %s to a free port: %w", key, address, key, err)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%s: %s may not be opened by this user: choose a port above 1023: %w", key, address, err)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("%s: this machine has no address %s: %w", key, address, err)
	default:
		return fmt.Errorf("%s: cannot listen on %q: %w", key, address, err)
	}
}

// HTTP serves s on l until ctx ends, then lets open requests finish for at most grace and closes the others. It returns nil after an orderly end.
func HTTP(ctx context.Context, s *http.Server, l net.Listener, grace time.Duration) error {
	failed := make(chan error, 1)
	go func() { failed <- s.Serve(l) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	if err := s.Shutdown(bounded); err != nil {
		_ = s.Close() // The grace is over; Close interrupts what Shutdown waited for and reports nothing new.
	}
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
