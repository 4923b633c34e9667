package launch

import _ "embed"

//go:embed bin/init-linux-amd64
var program string
