package validate

import (
	"errors"
	"fmt"

	masterpb "github.com/stoa-kernel/stoa/api/mesos/v1/master"
	"google.golang.org/protobuf/proto"
)

// Operator checks the form of an operator call: its error is the body of a 400.
func Operator(c *masterpb.Call) error {
	if err := proto.CheckInitialized(c); err != nil {
		return fmt.Errorf("the call is not complete: %w", err)
	}
	if c.Type == nil {
		return errors.New("Expecting 'type' to be present")
	}
	field, present := "", true
	switch c.GetType() {
	case masterpb.Call_LIST_FILES:
		field, present = "list_files", c.ListFiles != nil
	case masterpb.Call_READ_FILE:
		field, present = "read_file", c.ReadFile != nil
	case masterpb.Call_UPDATE_WEIGHTS:
		field, present = "update_weights", c.UpdateWeights != nil
	case masterpb.Call_UPDATE_QUOTA:
		field, present = "update_quota", c.UpdateQuota != nil
	case masterpb.Call_TEARDOWN:
		field, present = "teardown", c.Teardown != nil
	}
	if !present {
		return fmt.Errorf("Expecting '%s' to be present", field)
	}
	return nil
}
