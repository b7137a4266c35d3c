//go:build unix

package chromium

import "fmt"

// A Node is what a screen reader is told of one element.
type Node struct {
	Role, Name  string
	Description string
	Properties  map[string]any // such as "pressed", "disabled", "live"
}

// Accessibility returns the page's accessibility tree without what is hidden from it, in the order of reading.
func (p *Page) Accessibility() ([]Node, error) {
	type value struct{ Value any }
	var tree struct {
		Nodes []struct {
			Ignored                 bool
			Role, Name, Description value
			Properties              []struct {
				Name  string
				Value value
			}
		}
	}
	if err := p.call("Accessibility.getFullAXTree", nil, &tree); err != nil {
		return nil, err
	}
	text := func(v value) string {
		if v.Value == nil {
			return ""
		}
		return fmt.Sprint(v.Value)
	}
	var nodes []Node
	for _, n := range tree.Nodes {
		if n.Ignored {
			continue
		}
		node := Node{text(n.Role), text(n.Name), text(n.Description), map[string]any{}}
		for _, property := range n.Properties {
			node.Properties[property.Name] = property.Value.Value
		}
		nodes = append(nodes, node)
	}
	return nodes, nil
}
