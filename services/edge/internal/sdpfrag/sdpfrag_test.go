package sdpfrag

import (
	"slices"
	"strings"
	"testing"
)

const (
	ufrag     = "EsAw"
	password  = "P2uYro0UCOQ4zxjKXaWCBui1"
	candidate = "candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0 ufrag EsAw network-id 1"
)

var parsed = []struct {
	name, text string
	want       Fragment
	problem    string // part of the error; empty when there is none
}{
	{
		name: "the example of RFC 9725",
		text: "a=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\na=" + candidate + "\r\na=end-of-candidates\r\n",
		want: Fragment{Ufrag: ufrag, Password: password, Candidates: []string{candidate}, Complete: true},
	},
	{
		name: "bare line feeds, no end, blank lines",
		text: "\na=ice-ufrag:EsAw\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\n\nm=audio 9 RTP/AVP 0\na=mid:0\na=" + candidate,
		want: Fragment{Ufrag: ufrag, Password: password, Candidates: []string{candidate}},
	},
	{
		name: "the same in every media description",
		text: strings.Repeat("m=audio 9 RTP/AVP 0\r\na=mid:0\r\na=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\na="+candidate+"\r\n", 2),
		want: Fragment{Ufrag: ufrag, Password: password, Candidates: []string{candidate}},
	},
	{name: "a candidate alone", text: "a=" + candidate + "\r\n", want: Fragment{Candidates: []string{candidate}}},
	{name: "the end alone", text: "a=end-of-candidates", want: Fragment{Complete: true}},
	{name: "no password", text: "a=ice-ufrag:EsAw\r\n", want: Fragment{Ufrag: ufrag}},
	{name: "a whole description", text: "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=ice-ufrag:EsAw\r\na=x\r\n", want: Fragment{Ufrag: ufrag}},
	{name: "nothing", text: "", problem: "says nothing about ICE"},
	{name: "nothing about ICE", text: "m=audio 9 RTP/AVP 0\r\na=mid:0\r\n", problem: "says nothing about ICE"},
	{name: "JSON", text: `{"candidate":""}`, problem: "line 1 of the fragment is not SDP"},
	{name: "a bare candidate", text: "a=mid:0\r\n" + candidate, problem: "line 2 of the fragment is not SDP"},
	{name: "password alone", text: "a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1", problem: "without its a=ice-ufrag"},
	{name: "short user name", text: "a=ice-ufrag:EsA", problem: "line 1 of the fragment: a=ice-ufrag is not a word of 4 to 256"},
	{name: "long user name", text: "a=ice-ufrag:" + strings.Repeat("E", 257), problem: "a=ice-ufrag is not a word"},
	{name: "short password", text: "a=ice-ufrag:EsAw\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCB", problem: "line 2 of the fragment: a=ice-pwd is not a word of 22 to 256"},
	{name: "strange characters", text: "a=ice-ufrag:Es w", problem: "a=ice-ufrag is not a word"},
	{name: "two user names", text: "a=ice-ufrag:EsAw\na=ice-ufrag:EsAx", problem: "differs between media descriptions"},
	{name: "two passwords", text: "a=ice-ufrag:EsAw\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui2", problem: "differs between media descriptions"},
}

func TestParse(t *testing.T) {
	for _, tc := range parsed {
		t.Run(tc.name, func(t *testing.T) {
			got, err := Parse(tc.text)
			if tc.problem != "" {
				if err == nil || !strings.Contains(err.Error(), tc.problem) {
					t.Errorf("the error is %v, want one that says %q", err, tc.problem)
				}
				return
			}
			if err != nil || !same(got, tc.want) {
				t.Errorf("got %+v, %v; want %+v", got, err, tc.want)
			}
		})
	}
}

func same(a, b Fragment) bool {
	return a.Ufrag == b.Ufrag && a.Password == b.Password && a.Complete == b.Complete && slices.Equal(a.Candidates, b.Candidates)
}

const description = "v=0\r\no=- 1 2 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=fingerprint:sha-256 00\r\na=ice-options:trickle\r\na=group:BUNDLE 1 0\r\n" +
	"m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n" +
	"m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\na=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\na=recvonly\r\n" +
	"a=" + candidate + "\r\na=end-of-candidates\r\n"

func TestOf(t *testing.T) {
	leader := "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\na=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\na=" + candidate + "\r\na=end-of-candidates\r\n"
	first := "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n"
	for _, tc := range []struct{ name, description, want string }{
		{"the leader of the bundle", description, "a=ice-options:trickle\r\na=group:BUNDLE 1 0\r\n" + leader},
		{"the first without a bundle", strings.Replace(description, "a=group:BUNDLE 1 0\r\n", "", 1), "a=ice-options:trickle\r\n" + first},
		{"a lite agent", strings.Replace(description, "a=ice-options", "a=ice-lite\r\na=ice-options", 1), "a=ice-lite\r\na=ice-options:trickle\r\na=group:BUNDLE 1 0\r\n" + leader},
		{"candidates of two components", strings.Replace(description, "a="+candidate, "a="+candidate+"\r\na="+strings.Replace(candidate, " 1 udp", " 2 udp", 1), 1), "a=ice-options:trickle\r\na=group:BUNDLE 1 0\r\n" + leader},
		{"nothing", "", ""},
	} {
		if got := Of(tc.description); got != tc.want {
			t.Errorf("%s: got\n%s\nwant\n%s", tc.name, got, tc.want)
		}
	}
}

func TestRestart(t *testing.T) {
	got := Restart(description, "New1", "abcdefghijklmnopqrstuvwx")
	want := strings.NewReplacer("EsAw\r\n", "New1\r\n", password, "abcdefghijklmnopqrstuvwx", "a="+candidate+"\r\n", "", "a=end-of-candidates\r\n", "").Replace(description)
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// Whatever a client sends is a fragment within the bounds or an error that repeats none of it, and what Of keeps of it is read again as the same.
func FuzzParse(f *testing.F) {
	for _, tc := range parsed {
		f.Add(tc.text)
	}
	f.Add(description)
	f.Add("a=candidate:0 2")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := Parse(text)
		if err != nil {
			if !same(got, Fragment{}) {
				t.Error("an error comes with a fragment")
			}
			return
		}
		if got.Ufrag != "" && (len(got.Ufrag) < minUfrag || len(got.Ufrag) > maxWord) || got.Password != "" && (len(got.Password) < minPassword || len(got.Password) > maxWord) {
			t.Errorf("credentials of %d and %d characters", len(got.Ufrag), len(got.Password))
		}
		lines := []string{"m=audio 9 RTP/AVP 0", "a=mid:0", "a=end-of-candidates"}
		got.Complete = true
		for key, value := range map[string]string{"ice-ufrag": got.Ufrag, "ice-pwd": got.Password} {
			if value != "" {
				lines = append(lines, "a="+key+":"+value)
			}
		}
		got.Candidates = slices.DeleteFunc(got.Candidates, func(c string) bool { return !aboutICE("a=" + c) })
		for _, c := range got.Candidates {
			lines = append(lines, "a="+c)
		}
		again, err := Parse(Of(strings.Join(lines, "\r\n")))
		if err != nil || !same(again, got) {
			t.Errorf("%q became %+v (%v)", text, again, err)
		}
	})
}
