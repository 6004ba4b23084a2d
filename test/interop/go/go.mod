module interop

go 1.24.0

require (
	github.com/couchbase/go-couchbase v0.1.1
	github.com/couchbase/gocbcore/v10 v10.8.1
	github.com/couchbase/gomemcached v0.3.4
)

require (
	github.com/couchbase/goutils v0.3.0 // indirect
	github.com/golang/snappy v1.0.0 // indirect
	github.com/google/flatbuffers v24.3.25+incompatible // indirect
	github.com/google/uuid v1.6.0 // indirect
	github.com/gorilla/websocket v1.5.3 // indirect
	github.com/pkg/errors v0.9.1 // indirect
	golang.org/x/crypto v0.46.0 // indirect
)
