// Tries cbdatasource of go-couchbase, by which Couchbase's own indexers (cbgt) have followed buckets:
//
//	datasource URL USER PASSWORD
//
// The bucket has documents key-0 to key-2999. For each feature it prints one line of JSON: what it is,
// how it went, and why not. When it asks for changes, key-0 to key-99 are given the value "changed" and
// key-100 to key-149 are deleted.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/couchbase/go-couchbase"
	"github.com/couchbase/go-couchbase/cbdatasource"
	"github.com/couchbase/gomemcached"
)

const (
	documents = 3000
	changed   = 100
	deleted   = 50
	patience  = 30 * time.Second
)

func main() {
	url, user, password := os.Args[1], os.Args[2], os.Args[3]
	copy := &copied{values: map[string]string{}, positions: map[uint16]*position{}}
	report("whole bucket", func() error { return copy.follow(url, user, password, copy.isWhole) })
	fmt.Println(`{"ask":"change"}`)
	bufio.NewReader(os.Stdin).ReadString('\n')
	copy.received = 0
	report("resume from a saved state", func() error {
		if err := copy.follow(url, user, password, copy.isChanged); err != nil {
			return err
		}
		if copy.received != changed+deleted {
			return fmt.Errorf("%d changes came", copy.received)
		}
		return nil
	})
}

func report(feature string, attempt func() error) {
	outcome := map[string]string{"feature": feature, "result": "works", "detail": ""}
	if err := attempt(); err != nil {
		outcome["result"], outcome["detail"] = "fails", fmt.Sprintf("%.400s", err.Error())
	}
	line, _ := json.Marshal(outcome)
	fmt.Println(string(line))
}

type credentials struct{ user, password string }

func (c credentials) GetCredentials() (string, string, string) {
	return c.user, c.password, "default"
}
func (c credentials) GetSaslCredentials() (string, string) { return c.user, c.password }

var _ couchbase.AuthWithSaslHandler = credentials{}

type position struct {
	metadata []byte
	seqno    uint64
}

// copied is a copy of the bucket, and how far it is in each vbucket.
type copied struct {
	lock      sync.Mutex
	values    map[string]string
	positions map[uint16]*position
	received  int
	faults    []error
}

// follow streams the bucket until the copy is what it should be.
func (c *copied) follow(url, user, password string, isDone func() bool) error {
	c.faults = nil
	options := *cbdatasource.DefaultBucketDataSourceOptions
	options.Name = "interop-datasource"
	// So small that it has to be acknowledged again and again.
	options.FeedBufferSizeBytes = 64 * 1024
	source, err := cbdatasource.NewBucketDataSource([]string{url}, "default", "default", "", nil,
		credentials{user, password}, c, &options)
	if err != nil {
		return err
	}
	if err = source.Start(); err != nil {
		return err
	}
	defer source.Close()
	for until := time.Now().Add(patience); time.Now().Before(until); time.Sleep(10 * time.Millisecond) {
		c.lock.Lock()
		done, faults := isDone(), c.faults
		c.lock.Unlock()
		if len(faults) > 0 {
			return faults[0]
		}
		if done {
			return nil
		}
	}
	return fmt.Errorf("after %d changes there are %d documents", c.received, len(c.values))
}

func (c *copied) isWhole() bool {
	return len(c.values) == documents
}

func (c *copied) isChanged() bool {
	if len(c.values) != documents-deleted {
		return false
	}
	for index := range changed {
		if c.values[fmt.Sprintf("key-%d", index)] != "changed" {
			return false
		}
	}
	return true
}

func (c *copied) at(vbucket uint16) *position {
	if c.positions[vbucket] == nil {
		c.positions[vbucket] = &position{}
	}
	return c.positions[vbucket]
}

func (c *copied) change(vbucket uint16, seqno uint64) {
	if at := c.at(vbucket); seqno <= at.seqno {
		c.faults = append(c.faults, fmt.Errorf("seqno %d behind %d", seqno, at.seqno))
	} else {
		at.seqno = seqno
	}
	c.received++
}

func (c *copied) DataUpdate(vbucket uint16, key []byte, seqno uint64, r *gomemcached.MCRequest) error {
	c.lock.Lock()
	defer c.lock.Unlock()
	c.change(vbucket, seqno)
	c.values[string(key)] = string(r.Body)
	return nil
}

func (c *copied) DataDelete(vbucket uint16, key []byte, seqno uint64, _ *gomemcached.MCRequest) error {
	c.lock.Lock()
	defer c.lock.Unlock()
	c.change(vbucket, seqno)
	delete(c.values, string(key))
	return nil
}

func (c *copied) SetMetaData(vbucket uint16, value []byte) error {
	c.lock.Lock()
	defer c.lock.Unlock()
	c.at(vbucket).metadata = append([]byte{}, value...)
	return nil
}

func (c *copied) GetMetaData(vbucket uint16) ([]byte, uint64, error) {
	c.lock.Lock()
	defer c.lock.Unlock()
	at := c.at(vbucket)
	return at.metadata, at.seqno, nil
}

func (c *copied) OnError(err error) {
	c.lock.Lock()
	defer c.lock.Unlock()
	c.faults = append(c.faults, err)
}

func (c *copied) Rollback(vbucket uint16, seqno uint64) error {
	return fmt.Errorf("vbucket %d is to roll back to %d", vbucket, seqno)
}

func (c *copied) SnapshotStart(uint16, uint64, uint64, uint32) error { return nil }
