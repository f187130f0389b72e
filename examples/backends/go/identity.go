package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"strings"
	"sync"
	"time"
)

// User is who is calling. Subject is the only name of a user that never changes and that nobody else gets.
type User struct {
	Subject string `json:"sub"`
	Name    string `json:"name"`
	Email   string `json:"email"`
}

// Verifier checks the assertions of one gateway for one server.
type Verifier struct {
	Gateway  string // public URL of the gateway
	Audience string // URL at which the gateway serves this server

	mutex sync.Mutex
	keys  map[string]*ecdsa.PublicKey
	asked time.Time
}

type userKey struct{}

// UserOf returns who is calling, in a handler behind Require.
func UserOf(ctx context.Context) User {
	user, _ := ctx.Value(userKey{}).(User)
	return user
}

// Require answers 401 to everybody who does not come from the gateway.
func (v *Verifier) Require(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, err := v.verify(r.Header.Get("X-MCP-Identity"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), userKey{}, user)))
	})
}

func part(text string, into any) error {
	bytes, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return err
	}
	return json.Unmarshal(bytes, into)
}

func (v *Verifier) verify(assertion string) (User, error) {
	parts := strings.Split(assertion, ".")
	if len(parts) != 3 {
		return User{}, errors.New("X-MCP-Identity is missing: call this server through the gateway")
	}
	var header struct{ Alg, Typ, Kid string }
	if err := part(parts[0], &header); err != nil {
		return User{}, err
	}
	if header.Alg != "ES256" || header.Typ != "mcp-identity+jwt" {
		return User{}, fmt.Errorf("not an identity assertion: %s %s", header.Alg, header.Typ)
	}
	key, err := v.key(header.Kid)
	if err != nil {
		return User{}, err
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || len(signature) != 64 {
		return User{}, errors.New("the signature is malformed")
	}
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
	if !ecdsa.Verify(key, digest[:], r, s) {
		return User{}, errors.New("the signature is not the gateway's")
	}
	var claims struct {
		User
		Iss, Aud string
		Exp      int64
	}
	if err := part(parts[1], &claims); err != nil {
		return User{}, err
	}
	if claims.Iss != v.Gateway || claims.Aud != v.Audience || claims.Exp < time.Now().Unix() {
		return User{}, errors.New("the assertion is of another gateway, for another server, or has expired")
	}
	return claims.User, nil
}

// key asks the gateway again for a key that is not known, at most every ten seconds.
func (v *Verifier) key(kid string) (*ecdsa.PublicKey, error) {
	v.mutex.Lock()
	defer v.mutex.Unlock()
	if v.keys[kid] == nil && time.Since(v.asked) > 10*time.Second {
		v.asked = time.Now()
		keys, err := fetchKeys(v.Gateway + "/oauth/jwks")
		if err != nil {
			return nil, err
		}
		v.keys = keys
	}
	if key := v.keys[kid]; key != nil {
		return key, nil
	}
	return nil, errors.New("the gateway does not have the key of this assertion")
}

func fetchKeys(url string) (map[string]*ecdsa.PublicKey, error) {
	client := http.Client{Timeout: 5 * time.Second}
	response, err := client.Get(url)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	var set struct {
		Keys []struct{ Kid, Kty, Crv, X, Y string }
	}
	if err := json.NewDecoder(response.Body).Decode(&set); err != nil {
		return nil, err
	}
	keys := map[string]*ecdsa.PublicKey{}
	for _, jwk := range set.Keys {
		x, errX := base64.RawURLEncoding.DecodeString(jwk.X)
		y, errY := base64.RawURLEncoding.DecodeString(jwk.Y)
		if jwk.Kty != "EC" || jwk.Crv != "P-256" || errX != nil || errY != nil {
			continue
		}
		key := &ecdsa.PublicKey{Curve: elliptic.P256(), X: new(big.Int).SetBytes(x), Y: new(big.Int).SetBytes(y)}
		if key.Curve.IsOnCurve(key.X, key.Y) {
			keys[jwk.Kid] = key
		}
	}
	return keys, nil
}
