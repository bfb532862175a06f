// Command sluicectl publishes clips to a Sluice edge and follows outcomes.
package main

import (
	"os"

	"github.com/sluice-dev/sluice/services/ctl/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:])) }
