package http

import (
	"net/http"
)

func (c *call) why() { c.empty(http.StatusOK) }
