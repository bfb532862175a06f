//go:build linux

package sandbox

import "golang.org/x/sys/unix"

const auditArch = unix.AUDIT_ARCH_AARCH64

// policyOfArch adds the calls that only this architecture has: none.
func policyOfArch() []rule { return nil }
