package redact

import (
	"slices"
	"strings"
	"testing"
)

func TestArgs(t *testing.T) {
	for _, test := range []struct{ words, want []string }{
		{[]string{"sleep", "3600"}, []string{"sleep", "3600"}},
		{[]string{"ls", "-la", "/var/lib/app", "--color=never"}, []string{"ls", "-la", "/var/lib/app", "--color=never"}},
		{[]string{"mysql", "-uroot", "--password=hunter2"}, []string{"mysql", "-uroot", "--password=" + mask}},
		{[]string{"mysql", "-phunter2"}, []string{"mysql", "-p" + mask}},
		{[]string{"find", ".", "-print", "-path", "x"}, []string{"find", ".", "-print", "-path", "x"}},
		{[]string{"login", "--token", "hunter2", "-v"}, []string{"login", "--token", mask, "-v"}},
		{[]string{"login", "-p", "hunter2"}, []string{"login", "-p", mask}},
		{[]string{"curl", "-u", "admin:hunter2", "http://a/"}, []string{"curl", "-u", mask, "http://a/"}},
		{[]string{"curl", "https://admin:hunter2@a/b"}, []string{"curl", "https://" + mask + "@a/b"}},
		{[]string{"curl", "-H", "Authorization: Bearer abcdefghijkl"}, []string{"curl", "-H", "Authorization: " + mask}},
		{[]string{"env", "A=hunter2", "B=", "app"}, []string{"env", "A=" + mask, "B=", "app"}},
		{[]string{"sh", "-c", "export A=hunter2; curl -u a:hunter2 --pass hunter2 x"}, []string{"sh", "-c", "export A=" + mask + " curl -u " + mask + " --pass " + mask + " x"}},
		{[]string{"sh", "-c", `export A="two hunter2"; app --pass 'two hunter2' -v`}, []string{"sh", "-c", `export A=` + mask + `; app --pass ` + mask + ` -v`}},
		{[]string{"sh", "-c", `A="two \" hunter2`}, []string{"sh", "-c", `A=` + mask}},
		{[]string{"sh", "-c", `echo '{"password":"hunter2"}' | cat`}, []string{"sh", "-c", `echo '{"password":` + mask + `}' | cat`}},
		{[]string{"sh", "-c", `curl -d "{\"user\":\"a\",\"password\":\"hunter2\",\"n\":1}"`}, []string{"sh", "-c", `curl -d "{\"user\":\"a\",\"password\":` + mask + `,\"n\":1}"`}},
		{[]string{"sh", "-c", `"{\\\"token\\\": \\\"two \\\\\\\" hunter2\\\"}"`}, []string{"sh", "-c", `"{\\\"token\\\": ` + mask + `}"`}},
		{[]string{"app", `password="ends with \\" -v`}, []string{"app", `password=` + mask + ` -v`}},
		{[]string{"app", `token=secret="two hunter2" -v`}, []string{"app", `token=` + mask + ` -v`}},
		{[]string{"curl", "--user=admin:hunter2", "-uadmin:hunter2", "--proxy-user", "a:hunter2"}, []string{"curl", "--user=" + mask, "-u" + mask, "--proxy-user", mask}},
		{[]string{"app", "--user=admin", "-uadmin", "--user", "admin"}, []string{"app", "--user=admin", "-uadmin", "--user", "admin"}},
		{[]string{"sh", "-c", `curl -u 'a:two hunter2' --proxy-user=a:hunter2 -v`}, []string{"sh", "-c", `curl -u ` + mask + ` --proxy-user=` + mask + ` -v`}},
		{[]string{"mysql", "-e", `CREATE USER a IDENTIFIED BY 'two hunter2' ACCOUNT LOCK`}, []string{"mysql", "-e", `CREATE USER a IDENTIFIED BY ` + mask + ` ACCOUNT LOCK`}},
		{[]string{"mysql", "-e", `ALTER USER a IDENTIFIED WITH caching_sha2 BY "hunter2"`}, []string{"mysql", "-e", `ALTER USER a IDENTIFIED WITH caching_sha2 BY ` + mask}},
		{[]string{"psql", "-c", `ALTER USER a WITH PASSWORD 'two hunter2' VALID`}, []string{"psql", "-c", `ALTER USER a WITH PASSWORD ` + mask + ` VALID`}},
		{[]string{"mysql", "-e", `SET PASSWORD FOR 'a' = 'two hunter2'; SET PASSWORD = PASSWORD('two hunter2')`}, []string{"mysql", "-e", `SET PASSWORD FOR 'a' = ` + mask + `; SET PASSWORD = ` + mask + `)`}},
		{[]string{"curl", "-H", "X-Api-Key:hunter2", "-HX-Token:hunter2"}, []string{"curl", "-H", "X-Api-Key:" + mask, "-HX-Token:" + mask}},
		{[]string{"sh", "-c", `curl -H "Cookie:hunter2" https://auth.hub:5000/x hub/secret-app:1`}, []string{"sh", "-c", `curl -H "Cookie:` + mask + ` https://auth.hub:5000/x hub/secret-app:1`}},
		{[]string{"sh", "-c", `mysql -p 'two hunter2' -p'two hunter2' -v`}, []string{"sh", "-c", `mysql -p ` + mask + ` -p` + mask + ` -v`}},
		{[]string{"mysql", "-pathunter2", "-prihunter2", "-pruhunter2", "-perhunter2", "-pidhunter2", "-p-hunter2"}, []string{"mysql", "-p" + mask, "-p" + mask, "-p" + mask, "-p" + mask, "-p" + mask, "-p" + mask}},
		{[]string{"find", "-perm", "-1", "-print0", "-printf", "%p", "-prune"}, []string{"find", "-perm", "-1", "-print0", "-printf", "%p", "-prune"}},
		{[]string{"curl", "https://admin:p@hunter2@a/b@c"}, []string{"curl", "https://" + mask + "@a/b@c"}},
		{[]string{"sh", "-c", `run '["app","--password", "two hunter2"]' "--token" hunter2 -v`}, []string{"sh", "-c", `run '["app","--password", ` + mask + `]' "--token" ` + mask + ` -v`}},
		{[]string{"patch", `{"env":[{"name":"DB_PASSWORD","value":"two hunter2"}]}`}, []string{"patch", `{"env":[{"name":"DB_PASSWORD","value":` + mask + `}]}`}},
		{[]string{"app", "q7Kd81mXz0PwLs93Vb"}, []string{"app", mask}},
		{[]string{"app", strings.Repeat("ab01", 16)}, []string{"app", mask}}, // a key, as openssl makes it
		{[]string{"app", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.x"}, []string{"app", mask}},
		{nil, []string{}},
	} {
		if got := Args(test.words); !slices.Equal(got, test.want) {
			t.Errorf("%q:\n got %q\nwant %q", test.words, got, test.want)
		}
	}
}

func TestFreeText(t *testing.T) {
	id := strings.Repeat("0123456789abcdef", 4)
	for text, want := range map[string]string{
		"container " + id + " not found in namespace k8s.io":                                            "",
		`rpc error: code = Unknown desc = failed to pull "docker.io/library/secret-app:1.2": not found`: "",
		"pulled nginx@sha256:" + id:                               "",
		"401 for Authorization: Basic YWRtaW46aHVudGVyMg== there": "401 for Authorization: " + mask + " there",
		"get https://admin:hunter2@hub:5000/v2/: refused":         "get https://" + mask + "@hub:5000/v2/: refused",
		"token= \"apiKey\": \"hunter2\" left":                     "token= " + mask + ": " + mask + " left",
		"the password=hunter2, the rest":                          "the password=" + mask + " the rest",
		`failed to authorize: failed to fetch anonymous token: unexpected status from GET request to https://auth.docker.io/token?scope=repository%3Ateam: 401 Unauthorized`: "",
		"login with password: hunter2 failed":                                       "login with password: " + mask + " failed",
		`hub: 401: body: "{\"token\":\"hunter2 two\",\"a\":1}" there`:               `hub: 401: body: "{\"token\":` + mask + `,\"a\":1}" there`,
		`exec: ALTER USER a WITH PASSWORD 'two hunter2': denied`:                    `exec: ALTER USER a WITH PASSWORD ` + mask + `: denied`,
		"get https://admin:p@hunter2@hub/v2/a@sha256: refused":                      "get https://" + mask + "@hub/v2/a@sha256: refused",
		"token ghp_abcdefgh12345678 is bad":                                         "token " + mask + " is bad",
		"-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----\nleft": mask + "\nleft",
		"a key -----BEGIN PRIVATE KEY-----\nabc":                                    "a key " + mask,
	} {
		if want == "" {
			want = text
		}
		if got := FreeText(text); got != want {
			t.Errorf("%q:\n got %q\nwant %q", text, got, want)
		}
	}
}

func TestLabels(t *testing.T) {
	for _, test := range []struct {
		key, value string
		shown      bool
	}{
		{"app.kubernetes.io/name", "web", true},
		{"pod-template-hash", "7d4b9c6f8", true},
		{"prometheus.io/port", "9090", true},
		{"sidecar.istio.io/inject", "true", true},
		{"example.com/image", "docker.io/library/nginx:1.25", true},
		{"io.kubernetes.pod.uid", "3f2c1a90-7f5e-4f0a-9a55-0123456789ab", true},
		{"kubernetes.io/config.hash", "0123456789abcdef0123456789abcdef", true},
		{"io.kubernetes.container.ports", `[{"containerPort":80}]`, true},
		{"example.com/empty", "", true},
		{"example.com/api-token", "hunter2", false},
		{"example.com/db_password", "hunter2", false},
		{"example.com/accessKey", "hunter2", false},
		{"example.com/key", "hunter2", false},
		{"example.com/note", "q7Kd81mXz0PwLs93Vb", false},
		{"example.com/note", "A=hunter2", false},
		{"example.com/note", "https://admin:hunter2@hub", false},
		{"example.com/note", "one\ntwo", false},
		{"example.com/note", strings.Repeat("long ", 30), false},
		{"io.kubernetes.container.preStopHandler", `{"exec":{"command":["a"]}}`, false},
		{"kubectl.kubernetes.io/last-applied-configuration", `{"env":[{"name":"A","value":"hunter2"}]}`, false},
		{"example.com/note", "\xff", false},
	} {
		got := redactLabel(test.key, test.value)
		if shown := got == test.value; shown != test.shown {
			t.Errorf("%s=%q became %q, shown should be %t", test.key, test.value, got, test.shown)
		}
		if strings.Contains(got, "hunter2") {
			t.Errorf("%s=%q became %q", test.key, test.value, got)
		}
	}
}

func TestStreamURLs(t *testing.T) {
	for text, want := range map[string]string{
		"http://127.0.0.1:4321/exec/q7Kd81mX":           "http://127.0.0.1:4321/exec/" + mask,
		"http://127.0.0.1:4321/q7Kd81mX":                "http://127.0.0.1:4321/" + mask + "/" + mask,
		"http://u:hunter2@127.0.0.1/attach/a?token=b#c": "http://127.0.0.1/attach/" + mask,
		"q7Kd81mX":   mask,
		"http://%zz": mask,
	} {
		if got := redactStreamURL(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}
