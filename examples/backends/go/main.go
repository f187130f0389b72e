// An MCP server that knows who is calling, with the standard library alone: each user sees notes of their own.
// Run it with Go 1.19 or newer: go run .
package main

import (
	"encoding/json"
	"log"
	"net/http"
	"os"
	"sync"
)

type message struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Params struct {
		ProtocolVersion string `json:"protocolVersion"`
		Name            string `json:"name"`
		Arguments       struct {
			Text string `json:"text"`
		} `json:"arguments"`
	} `json:"params"`
}

type object = map[string]any

var tools = []object{
	{
		"name": "add_note", "description": "Keeps a note for you.",
		"inputSchema": object{
			"type": "object", "required": []string{"text"},
			"properties": object{"text": object{"type": "string"}},
		},
		"annotations": object{"readOnlyHint": false, "destructiveHint": false},
	},
	{
		"name": "get_my_data", "description": "Your notes.",
		"inputSchema": object{"type": "object"},
		"annotations": object{"readOnlyHint": true},
	},
}

var (
	mutex sync.Mutex
	notes = map[string][]string{}
)

func text(value string) object {
	return object{"content": []object{{"type": "text", "text": value}}}
}

func call(user User, name, note string) object {
	mutex.Lock()
	defer mutex.Unlock()
	switch name {
	case "add_note":
		notes[user.Subject] = append(notes[user.Subject], note)
		return text("Kept for " + user.Name + ".")
	case "get_my_data":
		list, _ := json.Marshal(append([]string{}, notes[user.Subject]...))
		return text(string(list))
	}
	return nil
}

func answer(w http.ResponseWriter, r *http.Request) {
	var in message
	if r.Method != http.MethodPost {
		http.Error(w, "send messages with POST", http.StatusMethodNotAllowed)
		return
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&in); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if in.ID == nil { // a notification
		w.WriteHeader(http.StatusAccepted)
		return
	}
	var result object
	switch in.Method {
	case "initialize":
		result = object{
			"protocolVersion": "2025-06-18", "capabilities": object{"tools": object{}},
			"serverInfo": object{"name": "notes", "version": "1.0.0"},
		}
	case "ping":
		result = object{}
	case "tools/list":
		result = object{"tools": tools}
	case "tools/call":
		result = call(UserOf(r.Context()), in.Params.Name, in.Params.Arguments.Text)
	}
	out := object{"jsonrpc": "2.0", "id": in.ID, "result": result}
	if result == nil {
		out = object{"jsonrpc": "2.0", "id": in.ID, "error": object{"code": -32601, "message": "not known: " + in.Method}}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(out)
}

func env(name, fallback string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return fallback
}

func main() {
	gateway := env("GATEWAY", "http://localhost:8080")
	verifier := &Verifier{Gateway: gateway, Audience: env("AUDIENCE", gateway+"/notes/mcp")}
	address := "localhost:" + env("PORT", "3001")
	log.Printf("http://%s", address)
	log.Fatal(http.ListenAndServe(address, verifier.Require(http.HandlerFunc(answer))))
}
