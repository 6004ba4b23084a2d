#!/bin/sh
# Makes the certificates that tests use, good for a hundred years. Their keys protect nothing.
set -eu
cd "$(dirname "$0")"
days=36500
key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1.key" 2>/dev/null; }
authority() {
  key "$1"
  openssl req -x509 -new -key "$1.key" -days $days -subj "/CN=$1" -out "$1.pem" \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign
}
issue() { # authority, name, subject, alternative names
  key "$2"
  openssl req -new -key "$2.key" -subj "$3" -out "$2.csr"
  printf 'subjectAltName=%s\n' "$4" >"$2.ext"
  openssl x509 -req -in "$2.csr" -CA "$1.pem" -CAkey "$1.key" -CAcreateserial -days $days \
    -extfile "$2.ext" -out "$2.pem" 2>/dev/null
  rm "$2.csr" "$2.ext"
}
authority authority
authority stranger
issue authority server /CN=server DNS:localhost,IP:127.0.0.1
issue authority renewed /CN=renewed DNS:localhost,IP:127.0.0.1
issue authority alice /CN=alice DNS:client.example
issue authority mailed /O=Nobody email:bob@example.org
issue stranger impostor /CN=alice DNS:client.example
rm -f authority.key stranger.key ./*.srl
