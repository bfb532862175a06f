// Package web holds what the edge serves to browsers: the client page and the browser SDK. The page is served as it is written;
// the SDK is one module, sdk/sluice.js, that make generate bundles from the TypeScript in sdk/src. It is committed, so that building
// the edge needs no Node.js.
package web

import (
	"embed"
	"io/fs"
)

// The patterns name kinds of files, so that tests (*.test.mjs) and package.json, which lie beside them, are not served.
//
//go:embed index.html watch.html icon.svg page/*.css page/*.js sdk/*.js sdk/*.d.ts
var files embed.FS

// ContentSecurityPolicy is the policy under which the page works: everything from its own origin, nothing inline. Pictures and
// clips that a visitor opens are blob: URLs, and so is the worker that the SDK starts from its own text. WebRTC is not governed by
// connect-src.
const ContentSecurityPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; " +
	"media-src 'self' blob:; connect-src 'self'; worker-src blob:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// PermissionsPolicy is the Permissions-Policy under which the page works: it asks for the camera, the microphone and the
// screen, for itself only.
const PermissionsPolicy = "camera=(self), microphone=(self), display-capture=(self), geolocation=()"

// FS returns the files to serve, read-only, with index.html, watch.html and sdk/sluice.js at their places below the root. It is
// safe for concurrent use.
func FS() fs.FS { return files }
