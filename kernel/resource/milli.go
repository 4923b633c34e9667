package resource

import (
	"fmt"
	"math"
	"strconv"
)

// Milli is a scalar quantity in thousandths, the precision Mesos computes with.
type Milli int64

// Max is the largest scalar a single resource may have: 10^15 units. Sums of more
// stop at the end of the type instead of wrapping.
const Max Milli = 1e18

// MilliOf rounds to three digits, halves away from zero (as Mesos, values.cpp). NaN,
// infinite and out-of-range values are refused.
func MilliOf(v float64) (Milli, error) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return 0, fmt.Errorf("%v is not a quantity: give a finite number", v)
	}
	scaled := math.Round(v * 1000)
	if math.Abs(scaled) > float64(Max) {
		return 0, fmt.Errorf("%v is out of range: at most %v", v, Max)
	}
	return Milli(scaled), nil
}

// Float is the value in units.
func (m Milli) Float() float64 { return float64(m) / 1000 }

// String is the value in units with as many of the three digits as it needs.
func (m Milli) String() string { return string(m.append(nil)) }

func (m Milli) append(b []byte) []byte {
	u := uint64(m)
	if m < 0 {
		b = append(b, '-')
		u = -u
	}
	b = strconv.AppendUint(b, u/1000, 10)
	if f := u % 1000; f != 0 {
		digits := [4]byte{'.', byte('0' + f/100), byte('0' + f/10%10), byte('0' + f%10)}
		n := 4
		for digits[n-1] == '0' {
			n--
		}
		b = append(b, digits[:n]...)
	}
	return b
}

// plus is the sum of two amounts that are not negative, stopping at the type's end.
func (m Milli) plus(o Milli) Milli {
	if s := m + o; s >= m {
		return s
	}
	return math.MaxInt64
}
