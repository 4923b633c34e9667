package service

import (
	"slices"
	"testing"

	"github.com/stoa-kernel/stoa/api/marathon"
)

// A group has those versions of the tree in which it was there, and each can be shown.
func TestVersionsOfGroups(t *testing.T) {
	bubble(t, func(t *testing.T, c *cluster) {
		var versions []marathon.Version
		write := func(method, path, body string) {
			t.Helper()
			status := 200
			if method == "POST" {
				status = 201
			}
			c.expect(status, method, path, body, nil)
			c.settled()
			var all []marathon.Version
			c.expect(200, "GET", "/v2/groups/versions", "", &all)
			versions = append(versions, all[0])
		}
		write("POST", "/v2/apps", `{"id":"/other","cmd":"sleep 1","instances":0}`)
		write("POST", "/v2/apps", `{"id":"/shop/web","cmd":"sleep 1","instances":0}`)
		write("PUT", "/v2/groups/shop", `{"dependencies":["/other"]}`)
		write("DELETE", "/v2/apps/shop/web", "")
		write("DELETE", "/v2/groups/shop", "")
		write("PUT", "/v2/apps/other", `{"cpus":0.5}`)
		write("POST", "/v2/apps", `{"id":"/shop/web/one","cmd":"sleep 1","instances":0}`)
		write("POST", "/v2/apps", `{"id":"/shopping/web","cmd":"sleep 1","instances":0}`)
		for group, want := range map[string][]marathon.Version{
			"/shop":     {versions[7], versions[6], versions[3], versions[2], versions[1]},
			"/shop/web": {versions[7], versions[6]},
			"/shopping": {versions[7]},
		} {
			var got []marathon.Version
			c.expect(200, "GET", "/v2/groups"+group+"/versions", "", &got)
			if !slices.Equal(got, want) {
				t.Errorf("versions of %s: %v; want %v of %v", group, got, want, versions)
			}
			for _, v := range versions {
				status := 404
				if slices.Contains(want, v) {
					status = 200
				}
				c.expect(status, "GET", "/v2/groups"+group+"/versions/"+string(v), "", nil)
			}
		}
	})
}
