package mirror

import (
	"embed"
	"fmt"
	"strings"
)

//go:embed webconfig
var configs embed.FS

// configFiles are the templates by the word that asks for them. In each @DIR@
// stands for the mirror.
func configFiles() map[string]string {
	return map[string]string{"nginx": "nginx.conf", "apache": "apache.conf", "caddy": "Caddyfile", "rsync": "rsync.sh"}
}

// ConfigKinds are the words that Config knows.
func ConfigKinds() []string { return []string{"nginx", "apache", "caddy", "rsync"} }

// Config gives the configuration with which a web server gives out the mirror in
// dir, an absolute path, as a registry; for "rsync" it is a shell script that
// copies one. They say themselves where they belong. Errors are usage errors.
func Config(kind, dir string) (string, error) {
	file, ok := configFiles()[kind]
	if !ok {
		return "", &usageError{msg: fmt.Sprintf("there is no configuration for %q", kind), hint: "there is one for each of " + strings.Join(ConfigKinds(), ", ")}
	}
	// All four would have to be quoted in ways of their own.
	if strings.ContainsAny(dir, "\"'$\\{}`@%\n\r\t") {
		return "", &usageError{msg: fmt.Sprintf("the path %q cannot be written into a configuration", dir), hint: "give the mirror a path of letters, digits, and . _ - /"}
	}
	b, err := configs.ReadFile("webconfig/" + file)
	if err != nil {
		return "", fmt.Errorf("read a configuration: %w", err)
	}
	return strings.ReplaceAll(string(b), "@DIR@", dir), nil
}
