package config

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/sluice-dev/sluice/pkg/config"
	"github.com/sluice-dev/sluice/services/edge/internal/ipc"
)

const sample = "../../../../deploy/config/edge.yaml"

// The sample is the documentation: it holds every key, with its default.
func TestSampleHoldsTheDefaults(t *testing.T) {
	t.Parallel()
	loaded := Config{}
	flags := pflag.NewFlagSet("edge", pflag.ContinueOnError)
	config.Bind(flags, &loaded)
	if err := config.Load(flags, sample, nil, &loaded); err != nil {
		t.Fatal(err)
	}
	if err := loaded.Validate(); err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.HTTP.Origins, want.HTTP.Tokens, want.HTTP.Clients = []string{}, []Secret{}, []Client{}
	want.ICE.Addresses, want.ICE.Servers = []string{}, []ICEServer{}
	want.Cluster.Members = map[string]string{}
	if !reflect.DeepEqual(loaded, want) {
		t.Errorf("the sample gives\n%+v\nwant the defaults\n%+v", loaded, want)
	}
	text, err := os.ReadFile(sample)
	if err != nil {
		t.Fatal(err)
	}
	flags.VisitAll(func(f *pflag.Flag) {
		key := f.Name[strings.LastIndexByte(f.Name, '.')+1:]
		if !strings.Contains(string(text), key+": ") {
			t.Errorf("the sample does not show %s", f.Name)
		}
	})
}

func TestFlagsAndEnvironment(t *testing.T) {
	t.Parallel()
	c := Default()
	flags := pflag.NewFlagSet("edge", pflag.ContinueOnError)
	config.Bind(flags, &c)
	args := []string{"--ice.loopback", "--http.listen", "127.0.0.1:0", "--log.level", "debug", "--router.tls.ca", "ca.pem", "--drain", "3s"}
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	env := []string{"SLUICE_HTTP_TOKENS=0123456789abcdef,fedcba9876543210", "SLUICE_HTTP_LISTEN=:1", "SLUICE_LIMITS_SESSIONS=3", "SLUICE_DECODER_SANDBOX=off"}
	if err := config.Load(flags, "", env, &c); err != nil {
		t.Fatal(err)
	}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	if !c.ICE.Loopback || c.HTTP.Listen != "127.0.0.1:0" || c.Log.Level != slog.LevelDebug || c.Router.TLS.CA != "ca.pem" ||
		c.Drain != config.Duration(3*time.Second) || len(c.HTTP.Tokens) != 2 || c.Limits.Sessions != 3 || c.Decoder.Sandbox != ipc.Off {
		t.Errorf("got %+v", c)
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(*Config)
		key    string // what the error names; empty when there is none
	}{
		"defaults":                {func(*Config) {}, ""},
		"no port":                 {func(c *Config) { c.HTTP.Listen = "8080" }, "http.listen"},
		"port out of range":       {func(c *Config) { c.GRPC.Listen = ":70000" }, "grpc.listen"},
		"named port":              {func(c *Config) { c.Admin.Listen = ":http" }, "admin.listen"},
		"no UDP":                  {func(c *Config) { c.ICE.UDP = "" }, "ice.udp"},
		"no TCP":                  {func(c *Config) { c.ICE.TCP = "" }, ""},
		"bad TCP":                 {func(c *Config) { c.ICE.TCP = "x" }, "ice.tcp"},
		"public URL":              {func(c *Config) { c.HTTP.PublicURL = "https://edge.example/sluice" }, ""},
		"public URL, no scheme":   {func(c *Config) { c.HTTP.PublicURL = "edge.example" }, "http.public_url"},
		"public URL, query":       {func(c *Config) { c.HTTP.PublicURL = "https://edge.example/?a=b" }, "http.public_url"},
		"certificate alone":       {func(c *Config) { c.HTTP.TLS.Cert = "c.pem" }, "http.tls"},
		"certificate and key":     {func(c *Config) { c.HTTP.TLS = KeyPair{Cert: "c.pem", Key: "k.pem"} }, ""},
		"origin":                  {func(c *Config) { c.HTTP.Origins = []string{"https://app.example:8443"} }, ""},
		"origin: star":            {func(c *Config) { c.HTTP.Origins = []string{"*"} }, "http.origins[0]"},
		"origin: star host":       {func(c *Config) { c.HTTP.Origins = []string{"https://*.example"} }, "http.origins[0]"},
		"origin: null":            {func(c *Config) { c.HTTP.Origins = []string{"null"} }, "http.origins[0]"},
		"origin: path":            {func(c *Config) { c.HTTP.Origins = []string{"https://app.example/"} }, "http.origins[0]"},
		"origin: default port":    {func(c *Config) { c.HTTP.Origins = []string{"https://app.example:443"} }, "http.origins[0]"},
		"origin: upper case":      {func(c *Config) { c.HTTP.Origins = []string{"https://a.example", "https://App.example"} }, "http.origins[1]"},
		"token":                   {func(c *Config) { c.HTTP.Tokens = []Secret{"aA0-._~+aA0-._~+"} }, ""},
		"token: short":            {func(c *Config) { c.HTTP.Tokens = []Secret{"secret"} }, "http.tokens[0]"},
		"token: slash":            {func(c *Config) { c.HTTP.Tokens = []Secret{"0123456789abcde/"} }, "http.tokens[0]"},
		"token: slash inside":     {func(c *Config) { c.HTTP.Tokens = []Secret{"0123456789/abcdef"} }, "http.tokens[0]"},
		"client":                  {func(c *Config) { c.HTTP.Clients = []Client{{"aA0-._~+aA0-._~+", 4, 1}, {"0123456789abcdef", 0, 0}} }, ""},
		"client: short token":     {func(c *Config) { c.HTTP.Clients = []Client{{"secret", 0, 0}} }, "http.clients[0].token"},
		"client: twice":           {func(c *Config) { c.HTTP.Clients = []Client{{"0123456789abcdef", 0, 0}, {"0123456789abcdef", 2, 0}} }, "http.clients[1].token"},
		"client: heavy":           {func(c *Config) { c.HTTP.Clients = []Client{{"0123456789abcdef", 101, 0}} }, "http.clients[0].weight"},
		"client: no class":        {func(c *Config) { c.HTTP.Clients = []Client{{"0123456789abcdef", 0, 4}} }, "http.clients[0].class"},
		"address":                 {func(c *Config) { c.ICE.Addresses = []string{"192.0.2.1", "2001:db8::1"} }, ""},
		"address: name":           {func(c *Config) { c.ICE.Addresses = []string{"edge.example"} }, "ice.addresses[0]"},
		"STUN":                    {func(c *Config) { c.ICE.Servers = []ICEServer{{URLs: []string{"stun:stun.example:3478"}}} }, ""},
		"server: no URL":          {func(c *Config) { c.ICE.Servers = []ICEServer{{}} }, "ice.servers[0]"},
		"server: HTTP":            {func(c *Config) { c.ICE.Servers = []ICEServer{{URLs: []string{"https://stun.example"}}} }, "ice.servers[0]"},
		"TURN without credential": {func(c *Config) { c.ICE.Servers = []ICEServer{{URLs: []string{"turn:turn.example"}, Username: "u"}} }, "ice.servers[0]"},
		"TURN with a secret":      {func(c *Config) { c.ICE.Servers = []ICEServer{{URLs: []string{"turn:turn.example"}, Secret: "s"}} }, ""},
		"TURN with a life": {func(c *Config) {
			c.ICE.Servers = []ICEServer{{URLs: []string{"turn:turn.example"}, Secret: "s", TTL: config.Duration(time.Hour)}}
		}, ""},
		"TURN with both": {func(c *Config) {
			c.ICE.Servers = []ICEServer{{URLs: []string{"turn:turn.example"}, Secret: "s", Username: "u", Credential: "c"}}
		}, "ice.servers[0]"},
		"life without a secret": {func(c *Config) {
			c.ICE.Servers = []ICEServer{{URLs: []string{"stun:stun.example"}, TTL: config.Duration(time.Hour)}}
		}, "ice.servers[0]"},
		"life too short": {func(c *Config) {
			c.ICE.Servers = []ICEServer{{URLs: []string{"turn:turn.example"}, Secret: "s", TTL: config.Duration(time.Second)}}
		}, "ice.servers[0]"},
		"no target":          {func(c *Config) { c.Router.Target = "" }, "router.target"},
		"router key alone":   {func(c *Config) { c.Router.TLS.Key = "k.pem" }, "router.tls"},
		"router name, no CA": {func(c *Config) { c.Router.TLS = RouterTLS{Name: "router"} }, "router.tls.name"},
		"router pair, no CA": {func(c *Config) { c.Router.TLS = RouterTLS{Cert: "c", Key: "k"} }, "router.tls.ca"},
		"no sessions":        {func(c *Config) { c.Limits.Sessions = 0 }, "limits.sessions"},
		"negative channels":  {func(c *Config) { c.Limits.Channels = -1 }, "limits.channels"},
		"no bits":            {func(c *Config) { c.Limits.Bitrate = 0 }, "limits.bitrate"},
		"no pixels":          {func(c *Config) { c.Limits.Pixels = config.Pixels{} }, "limits.pixels"},
		"tiny message":       {func(c *Config) { c.Limits.Message = 100 }, "limits.message"},
		"huge message":       {func(c *Config) { c.Limits.Message = 1 << 30 }, "limits.message"},
		"little memory":      {func(c *Config) { c.Limits.DecoderMemory = 1 << 20 }, "limits.decoder_memory"},
		"no decoder":         {func(c *Config) { c.Decoder.Path = "" }, "decoder.path"},
		"log: xml":           {func(c *Config) { c.Log.Format = "xml" }, "log.format"},
		"cluster by DNS":     {func(c *Config) { c.Cluster = Cluster{Name: "edge-0", Domain: "edge-members", Port: 8080} }, ""},
		"cluster by list": {func(c *Config) {
			c.Cluster.Name, c.Cluster.Members = "a", map[string]string{"b": "http://10.0.0.2:8080"}
		}, ""},
		"cluster: name alone":    {func(c *Config) { c.Cluster.Name = "edge-0" }, "cluster"},
		"cluster: no name":       {func(c *Config) { c.Cluster.Domain = "edge-members" }, "cluster.name"},
		"cluster: dots":          {func(c *Config) { c.Cluster.Name, c.Cluster.Domain = "edge.0", "edge-members" }, "cluster.name"},
		"cluster: long name":     {func(c *Config) { c.Cluster.Name, c.Cluster.Domain = strings.Repeat("e", 48), "edge-members" }, "cluster.name"},
		"cluster: both":          {func(c *Config) { c.Cluster = Cluster{"a", "d", 8080, map[string]string{"b": "http://b:1"}} }, "cluster"},
		"cluster: port":          {func(c *Config) { c.Cluster.Port = 0 }, "cluster.port"},
		"cluster: member":        {func(c *Config) { c.Cluster.Name, c.Cluster.Members = "a", map[string]string{"b": "b:8080"} }, "cluster.members.b"},
		"cluster: member's name": {func(c *Config) { c.Cluster.Name, c.Cluster.Members = "a", map[string]string{"B": "http://b:1"} }, "cluster.members.B"},
		"endless drain":          {func(c *Config) { c.Drain = config.Duration(time.Hour) }, "drain"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := Default()
			tc.change(&c)
			err := c.Validate()
			if tc.key == "" {
				if err != nil {
					t.Errorf("refused: %v", err)
				}
				return
			}
			if !errors.Is(err, config.ErrInvalid) || !strings.Contains(err.Error(), tc.key+": ") {
				t.Errorf("got %v, want an error about %s", err, tc.key)
			}
		})
	}
}

func TestLoadNamesTheKey(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"decoder: {sandbox: maybe}": "required, best-effort, off",
		"http:\n  lisen: x":         `did you mean "listen"?`,
		"log: {level: loud}":        "loud",
	} {
		c := Default()
		err := config.Decode("edge.yaml", []byte(text), &c)
		if !errors.Is(err, config.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want an error with %s", text, err, want)
		}
	}
}

func TestValidateTellsAll(t *testing.T) {
	t.Parallel()
	c := Default()
	c.HTTP.Listen, c.ICE.UDP, c.Limits.Sessions = "", "", 0
	err := c.Validate()
	for _, key := range []string{"http.listen", "ice.udp", "limits.sessions"} {
		if err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%v says nothing of %s", err, key)
		}
	}
}

func TestSecretsAreNotShown(t *testing.T) {
	t.Parallel()
	c := Default()
	c.HTTP.Tokens = []Secret{"hunter2hunter2hunter2"}
	c.ICE.Servers = []ICEServer{{Credential: "hunter2", Secret: "hunter2"}}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("loaded", "config", c)
	for _, shown := range []string{fmt.Sprintf("%v %+v %#v %s", c, c, c, c.HTTP.Tokens), log.String()} {
		if strings.Contains(shown, "hunter2") {
			t.Errorf("a secret is shown: %s", shown)
		}
	}
	c.HTTP.Tokens[0] = "hunter2/hunter2/hunter2"
	if err := c.Validate(); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("an error shows a secret: %v", err)
	}
}
