//go:build linux

package sandbox

import "golang.org/x/sys/unix"

const auditArch = unix.AUDIT_ARCH_X86_64

// policyOfArch adds the calls that only this architecture has.
func policyOfArch() []rule { return []rule{{call: unix.SYS_POLL}} }
