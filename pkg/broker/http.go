package broker

import (
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// newHTTPServer serves metrics and health. Profiles are for this machine only.
func newHTTPServer(b *Broker, listening net.Addr) *http.Server {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(b.metrics.registry, promhttp.HandlerOpts{
		EnableOpenMetrics: true, MaxRequestsInFlight: 8, Timeout: 10 * time.Second,
	}))
	mux.HandleFunc("GET /livez", probe(b.live))
	mux.HandleFunc("GET /readyz", probe(b.ready))
	mux.HandleFunc("GET /startupz", probe(b.started))
	if host, _, err := net.SplitHostPort(listening.String()); err == nil && isLoopback(host) {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	return &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      2 * time.Minute, // a profile takes as long as it was asked to
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    int(16 * kibibyte),
		ErrorLog:          slog.NewLogLogger(b.log.Handler(), slog.LevelDebug), // strangers must not fill the log
	}
}

// probe answers 200 or 503; ?verbose says why.
func probe(check func() health) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		h := check()
		code := http.StatusOK
		if !h.OK {
			code = http.StatusServiceUnavailable
		}
		if !r.URL.Query().Has("verbose") {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			w.WriteHeader(code)
			_, _ = w.Write([]byte(h.word() + "\n"))
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(h)
	}
}
