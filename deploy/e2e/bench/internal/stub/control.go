package stub

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"

	"google.golang.org/grpc/codes"
)

// Control is the server's remote control over HTTP:
//
//	GET  /journal            what ran so far, as JSON of [Journal]
//	POST /forget             empties the journal
//	POST /slow?factor=10     batches take ten times as long; 1 is well again
//	POST /hang?on=true       keeps all answers back until on=false
//	POST /fail?code=14       answers every request at once with this gRPC code; 0 is well again
//	POST /ready?on=false     calls itself not ready
//	POST /kill               calls kill, which does not return
func (s *Server) Control(kill func()) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /journal", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(s.Journal()) // whoever asked has gone
	})
	post := func(path string, do func(*http.Request) error) {
		mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
			if err := do(r); err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
			}
		})
	}
	post("/forget", func(*http.Request) error {
		s.Forget()
		return nil
	})
	post("/slow", func(r *http.Request) error {
		factor, err := strconv.ParseFloat(r.FormValue("factor"), 64)
		if err != nil || !(factor > 0 && factor <= 1e6) {
			return fmt.Errorf("factor %q is no number above 0", r.FormValue("factor"))
		}
		s.Slow(factor)
		return nil
	})
	post("/hang", switched(s.Hang))
	post("/ready", switched(s.SetReady))
	post("/fail", func(r *http.Request) error {
		code, err := strconv.ParseUint(r.FormValue("code"), 10, 5)
		if err != nil || codes.Code(code) > codes.Unauthenticated {
			return fmt.Errorf("code %q is no gRPC code", r.FormValue("code"))
		}
		s.Fail(codes.Code(code))
		return nil
	})
	post("/kill", func(*http.Request) error {
		kill()
		return nil
	})
	return mux
}

func switched(do func(bool)) func(*http.Request) error {
	return func(r *http.Request) error {
		on, err := strconv.ParseBool(r.FormValue("on"))
		if err != nil {
			return fmt.Errorf("on=%q is neither true nor false", r.FormValue("on"))
		}
		do(on)
		return nil
	}
}
