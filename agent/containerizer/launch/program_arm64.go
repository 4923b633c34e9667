package launch

import _ "embed"

//go:embed bin/init-linux-arm64
var program string
