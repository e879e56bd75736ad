// Package config reads the shim's YAML file. docs/configuration.md lists its keys.
//
// The file is read strictly. An unknown key, a value of the wrong kind and a key that
// is set twice are errors. Each error names the file, line and key, the value found and
// the value expected, and all errors are reported at once. A key without effect causes
// a warning. No error or warning contains a part of auth, username or password, or what looks like
// credentials below another key.
//
//	shim: /var/run/image-cri-shim.sock     # the socket to serve
//	cri: /run/containerd/containerd.sock   # the runtime's socket; by default the well-known ones are tried
//	address: http://sealos.hub:5000        # the main registry
//	auth: admin:passw0rd                   # split at the first colon, or a map of username and password
//	force: true                            # serve before the runtime answers
//	registries:
//	- address: https://hub.example.com/mirror
//	  auth: robot:secret
//	  priority: 800                        # among the registries with an image, the highest serves it
//	  match: ["docker.io", "!docker.io/team"]
//	  tags: ["!latest"]
//	  fallback: never                      # never pull from docker.io instead
//	  path: "dockerhub/{path}"
//	  ca: /etc/ssl/hub.pem
//
// The keys from address to insecureSkipVerify at the top level describe the main
// registry; authFile also applies to each registry without auth or authFile. A key that
// is absent, null, empty or zero has its default. Durations are written as in Go: 15m,
// 30s, 1h30m.
//
// The keys are a superset of those of the image-cri-shim that this program replaces,
// and of its ConfigMap, which has the main registry below the key sealos. Keys of that
// program that have no effect here are accepted with a warning.
//
// Parsing does no I/O, and the values that it returns belong to the caller. All
// functions are safe for concurrent use.
package config

import (
	"cmp"
	"io"
	"os"
	"time"
)

// sizeLimit bounds the file, in bytes. A configuration of a thousand registries is far smaller.
const sizeLimit = 1 << 20

const (
	defaultShim           = "/var/run/image-cri-shim.sock"
	defaultStateDirectory = "/var/lib/image-cri-shim"
	defaultTimeout        = 15 * time.Minute
	defaultLookupTimeout  = 3 * time.Second
	defaultDrain          = 30 * time.Second
	defaultReloadInterval = 15 * time.Second
	defaultCacheSize      = 1024
	defaultFoundTTL       = 5 * time.Minute
	defaultAbsentTTL      = 30 * time.Second
)

// Config is a validated configuration. All values have their defaults applied.
type Config struct {
	Shim           string        // absolute path of the socket to serve
	Runtime        string        // absolute path of the runtime's socket; empty: see DetectRuntime
	Engine         string        // EngineFrames or EngineGRPC
	Names          string        // NamesAuto or NamesLedger
	Fallback       string        // FallbackOriginal or FallbackNever
	Force          bool          // serve at once, before the runtime answers
	Debug          bool          // log every call
	Metrics        string        // host:port or the absolute path of the socket that serves metrics; empty: none
	PProf          bool          // serve Go's profiles there too
	Timeout        time.Duration // bounds the attempts of one PullImage before the last one
	LookupTimeout  time.Duration // bounds one lookup in one registry
	Drain          time.Duration // how long running calls may continue during a shutdown
	StateDirectory string        // absolute path of the folder for state that survives restarts
	ReloadInterval time.Duration // maximum time between two checks of the file for changes
	TraceBuffer    int           // bytes of finished calls kept for trace --since; 0: none
	Cache          Cache
	Read           time.Time  // when the file was read; zero without a file
	Registries     []Registry // the main registry first, if there is one, then in the file's order
	authFile       string     // for registries without credentials of their own
	Warnings       []Message  // in the file's order
	file           string
	places         map[string]place // of the keys, by dotted path
}

// The engines that forward calls.
const (
	EngineFrames = "frames" // relays HTTP/2 frames
	EngineGRPC   = "grpc"   // uses grpc-go's server and client
)

func parseEngine(v value) (string, error) { return parseOneOf(v, EngineFrames, EngineGRPC) }

// Where the requested names of images from registries are kept.
const (
	NamesAuto   = "auto"   // in the runtime if it can keep them, otherwise in the ledger
	NamesLedger = "ledger" // in the ledger
)

func parseNamesMode(v value) (string, error) { return parseOneOf(v, NamesAuto, NamesLedger) }

// Cache limits the number and the age of cached answers of registries.
type Cache struct {
	ImageCacheSize int           // maximum number of answers; -1: no cache
	ImageCacheTTL  time.Duration // how long "this registry has it" is valid
	AbsentTTL      time.Duration // how long "this registry does not have it" is valid
}

// DefaultFile is the configuration that commands read without --file.
const DefaultFile = "/etc/image-cri-shim.yaml"

// Load reads and parses the file at path. It warns if all users can access a file with
// credentials or write to the configuration, and if an authFile is missing.
func Load(path string) (*Config, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	defer func() { _ = file.Close() }() // nothing is written
	config, err := Read(path, file)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err != nil {
		return nil, unreadable(path, err)
	}
	if config.hasCredentials() {
		config.warnOfOpenFile(Message{File: path}, path, info)
	}
	config.warnOfWritableFile(info)
	return config, nil
}

// Read reads and parses a configuration. name stands for the file in errors and warnings. It
// warns if all users can access an authFile, if an authFile is missing, and if the packaged service
// can't see an authFile or a ca.
func Read(name string, reader io.Reader) (*Config, error) {
	read := time.Now() // before the content is read: later changes may be missed
	data, err := io.ReadAll(io.LimitReader(reader, sizeLimit+1))
	if err != nil {
		return nil, unreadable(name, err)
	}
	config, err := Parse(name, data)
	if err != nil {
		return nil, err
	}
	config.Read = read
	config.warnOfAuthFiles()
	config.warnOfAuthorities()
	return config, nil
}

// Parse parses a configuration. file names the source in errors and warnings. The error is of
// the type [Problems] and has every problem.
func Parse(file string, data []byte) (*Config, error) {
	document := &document{file: file, places: map[string]place{}}
	config := &Config{file: file, places: document.places}
	if root, ok := document.open(data); ok && !root.manifest() {
		config.read(root)
	}
	if err := document.err(); err != nil {
		return nil, err
	}
	config.Warnings = inLineOrder(document.warnings)
	return config, nil
}

// read fills the configuration from the file's top level.
func (c *Config) read(root value) {
	main := Registry{Main: true, Priority: defaultMainPriority, Path: defaultPath}
	var entries []value
	var sealos map[string]value
	set := root.mapping(keyParsers{
		"shim":               into(&c.Shim, parseSocket),
		"cri":                into(&c.Runtime, parseSocket),
		"engine":             into(&c.Engine, parseEngine),
		"names":              into(&c.Names, parseNamesMode),
		"fallback":           into(&c.Fallback, parseFallback),
		"force":              into(&c.Force, parseBool),
		"debug":              into(&c.Debug, parseBool),
		"metrics":            into(&c.Metrics, parseListenAddress),
		"pprof":              into(&c.PProf, parseBool),
		"timeout":            into(&c.Timeout, parseDuration),
		"lookupTimeout":      into(&c.LookupTimeout, parseDuration),
		"drain":              into(&c.Drain, parseDuration),
		"image":              into(&c.StateDirectory, parseAbsolutePath),
		"reloadInterval":     into(&c.ReloadInterval, parseLenientDuration),
		"traceBuffer":        into(&c.TraceBuffer, parseTraceBuffer),
		"cache":              c.Cache.read,
		"address":            into(&main.Address, parseAddress),
		"auth":               main.readAuth,
		"authFile":           into(&c.authFile, parseAbsolutePath),
		"offlinePriority":    into(&main.Priority, parsePriority(defaultMainPriority)),
		"match":              into(&main.Match, parsePatterns),
		"tags":               into(&main.Tags, parseTagPatterns),
		"path":               into(&main.Path, parseTemplate),
		"ca":                 into(&main.CA, parseAbsolutePath),
		"insecureSkipVerify": into(&main.InsecureSkipVerify, parseBool),
		"sealos":             func(v value) { sealos = main.readSealos(v) },
		"registries":         func(v value) { entries = v.items("a list of registries") },
	}, "version", "sync", "registry.d")
	mergeSealos(set, sealos)
	c.applyDefaults()
	c.checkSockets(set)
	c.checkMetrics(set)
	c.addMain(main, set)
	c.addRegistries(entries, set["match"])
	if len(c.Registries) == 0 {
		root.warn("neither address nor registries is set; set address, or every image comes from the registry in its name")
	}
}

func (c *Config) applyDefaults() {
	c.Shim = cmp.Or(c.Shim, defaultShim)
	c.StateDirectory = cmp.Or(c.StateDirectory, defaultStateDirectory)
	c.Engine = cmp.Or(c.Engine, EngineFrames)
	c.Names = cmp.Or(c.Names, NamesAuto)
	c.Fallback = cmp.Or(c.Fallback, FallbackOriginal)
	c.Timeout = cmp.Or(c.Timeout, defaultTimeout)
	c.LookupTimeout = cmp.Or(c.LookupTimeout, defaultLookupTimeout)
	c.Drain = cmp.Or(c.Drain, defaultDrain)
	c.ReloadInterval = cmp.Or(c.ReloadInterval, defaultReloadInterval)
	c.Cache.ImageCacheSize = max(cmp.Or(c.Cache.ImageCacheSize, defaultCacheSize), -1)
	c.Cache.ImageCacheTTL = cmp.Or(c.Cache.ImageCacheTTL, defaultFoundTTL)
	c.Cache.AbsentTTL = cmp.Or(c.Cache.AbsentTTL, defaultAbsentTTL)
}

func (c *Cache) read(v value) {
	v.mapping(keyParsers{
		"imageCacheSize": into(&c.ImageCacheSize, parseInt),
		"imageCacheTTL":  into(&c.ImageCacheTTL, parseLenientDuration),
		"absentTTL":      into(&c.AbsentTTL, parseDuration),
	}, "domainCacheTTL", "statsLogInterval", "disableStats")
}
