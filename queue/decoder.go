package queue

import (
	"bytes"
	"encoding/json"
	"sync"
)

// A decoder is a json.Decoder that is used for one text after the other. json.Unmarshal makes its state anew for every
// text, which costs as much as reading the arguments of a small call.
type decoder struct {
	text    bytes.Reader
	decoder *json.Decoder
	read    int64 // the decoder's offset at the end of the last text
}

var decoders = sync.Pool{New: func() any {
	d := &decoder{}
	d.decoder = json.NewDecoder(&d.text)
	return d
}}

// decoderMax is the longest text for the decoder, which keeps a copy of it.
const decoderMax = 16 << 10

// unmarshal is json.Unmarshal into a zero value. Whatever is not one plain value is left to json.Unmarshal, with its
// errors.
func unmarshal[A any](data []byte, value *A) error {
	if len(data) > decoderMax {
		return json.Unmarshal(data, value)
	}
	d := decoders.Get().(*decoder)
	if d.decode(data, value) {
		decoders.Put(d)
		return nil
	}
	var zero A
	*value = zero
	return json.Unmarshal(data, value)
}

// decode reads data and reports whether it was one value, whole, without white space around it. If not, d is spoilt.
func (d *decoder) decode(data []byte, value any) bool {
	d.text.Reset(data)
	if d.decoder.Decode(value) != nil {
		return false
	}
	end := d.decoder.InputOffset()
	whole := end-d.read == int64(len(data)) && d.text.Len() == 0
	d.read = end
	d.text.Reset(nil) // keeps no message alive
	return whole
}
