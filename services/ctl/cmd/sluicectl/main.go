// Command sluicectl publishes clips to a Sluice edge, follows outcomes, shows how busy sessions are and explains what became of a unit.
package main

import (
	"os"

	"github.com/sluice-dev/sluice/services/ctl/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:])) }
