// Tries gocbcore, the core of Couchbase's Go SDK and of connectors that follow DCP:
//
//	interop HOST:PORT USER PASSWORD
//
// The bucket has a scope "go" with the collections "orders" and "baskets".
//
// For each feature it prints one line of JSON: what it is, how it went, and why not.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/couchbase/gocbcore/v10"
	"github.com/couchbase/gocbcore/v10/memd"
)

const patience = 20 * time.Second

func main() {
	address, user, password := os.Args[1], os.Args[2], os.Args[3]
	auth := gocbcore.PasswordAuthProvider{Username: user, Password: password}
	kv := &documents{}
	report("login", func() error { return kv.connect(address, auth) })
	if kv.agent != nil {
		report("documents", kv.documents)
		report("cas", kv.cas)
		report("counters", kv.counters)
		report("durability majority", kv.durable)
		report("seqnos observed", kv.observed)
		report("collections", kv.collections)
		report("unknown collection", kv.unknownCollection)
	}
	report("dcp whole bucket", func() error { return copyBucket(address, auth, memd.DcpOpenFlagProducer) })
	report("dcp of a collection", func() error { return copyOrders(address, auth, kv.orders) })
	report("dcp with expiry opcode", func() error {
		return copyBucket(address, auth, memd.DcpOpenFlagProducer|memd.DcpOpenFlagIncludeDeleteTimes)
	})
}

func copyOrders(address string, auth gocbcore.AuthProvider, orders uint32) error {
	filter := gocbcore.OpenStreamOptions{
		FilterOptions: &gocbcore.OpenStreamFilterOptions{CollectionIDs: []uint32{orders}},
	}
	flags := memd.DcpOpenFlagProducer
	watcher, err := stream(address, auth, flags, filter)
	if err != nil {
		return err
	}
	if len(watcher.keys) != 1 || !watcher.keys["of a collection"] {
		return fmt.Errorf("what came is %v", watcher.keys)
	}
	if watcher.created == 0 {
		return errors.New("nothing told that the collection was made")
	}
	return nil
}

func report(feature string, attempt func() error) {
	outcome := map[string]string{"feature": feature, "result": "works", "detail": ""}
	if err := attempt(); err != nil {
		outcome["result"], outcome["detail"] = "fails", fmt.Sprintf("%.400s", err.Error())
		if errors.Is(err, gocbcore.ErrFeatureNotAvailable) {
			outcome["result"] = "refused"
		}
	}
	line, _ := json.Marshal(outcome)
	fmt.Println(string(line))
}

// finish waits for an operation whose callback sends how it ended.
func finish(start func(done func(error)) error) error {
	ended := make(chan error, 1)
	if err := start(func(err error) { ended <- err }); err != nil {
		return err
	}
	select {
	case err := <-ended:
		return err
	case <-time.After(patience):
		return errors.New("it does not end")
	}
}

type documents struct {
	agent *gocbcore.Agent
	// Of the last document that was stored.
	token gocbcore.MutationToken
	// Of the collection of that name.
	orders uint32
}

func (kv *documents) connect(address string, auth gocbcore.AuthProvider) error {
	config := gocbcore.AgentConfig{BucketName: "default"}
	config.SeedConfig.MemdAddrs = []string{address}
	config.SecurityConfig.Auth = auth
	config.IoConfig.UseCollections = true
	config.IoConfig.UseMutationTokens = true
	config.IoConfig.UseDurations = true
	config.CompressionConfig.Enabled = true
	agent, err := gocbcore.CreateAgent(&config)
	if err != nil {
		return err
	}
	err = finish(func(done func(error)) error {
		_, err := agent.WaitUntilReady(time.Now().Add(patience), gocbcore.WaitUntilReadyOptions{},
			func(_ *gocbcore.WaitUntilReadyResult, err error) { done(err) })
		return err
	})
	if err == nil {
		kv.agent = agent
	}
	return err
}

func (kv *documents) set(key, value string, level memd.DurabilityLevel) (cas gocbcore.Cas, err error) {
	err = finish(func(done func(error)) error {
		_, err := kv.agent.Set(gocbcore.SetOptions{
			Key: []byte(key), Value: []byte(value), Deadline: time.Now().Add(patience),
			DurabilityLevel: level, DurabilityLevelTimeout: patience,
		}, func(result *gocbcore.StoreResult, err error) {
			if err == nil {
				cas, kv.token = result.Cas, result.MutationToken
			}
			done(err)
		})
		return err
	})
	return cas, err
}

func (kv *documents) replace(key, value string, cas gocbcore.Cas) error {
	return finish(func(done func(error)) error {
		_, err := kv.agent.Replace(gocbcore.ReplaceOptions{
			Key: []byte(key), Value: []byte(value), Cas: cas, Deadline: time.Now().Add(patience),
		}, func(_ *gocbcore.StoreResult, err error) { done(err) })
		return err
	})
}

func (kv *documents) get(key string) (value string, err error) {
	err = finish(func(done func(error)) error {
		_, err := kv.agent.Get(gocbcore.GetOptions{Key: []byte(key), Deadline: time.Now().Add(patience)},
			func(result *gocbcore.GetResult, err error) {
				if err == nil {
					value = string(result.Value)
				}
				done(err)
			})
		return err
	})
	return value, err
}

func (kv *documents) documents() error {
	if _, err := kv.set("document", "value", 0); err != nil {
		return err
	}
	value, err := kv.get("document")
	if err != nil {
		return err
	}
	if value != "value" {
		return fmt.Errorf("it reads %q", value)
	}
	if _, err = kv.get("missing"); !errors.Is(err, gocbcore.ErrDocumentNotFound) {
		return fmt.Errorf("a missing document: %v", err)
	}
	for index := range 500 {
		if _, err := kv.set(fmt.Sprintf("many-%d", index), "value", 0); err != nil {
			return err
		}
	}
	return nil
}

func (kv *documents) cas() error {
	first, err := kv.set("cas", "1", 0)
	if err != nil {
		return err
	}
	if err = kv.replace("cas", "2", first); err != nil {
		return err
	}
	// The core tells of both by one status; which it is depends on the command.
	if err = kv.replace("cas", "3", first); !errors.Is(err, gocbcore.ErrCasMismatch) {
		return fmt.Errorf("an outdated cas: %v", err)
	}
	return nil
}

func (kv *documents) counters() error {
	var value uint64
	err := finish(func(done func(error)) error {
		_, err := kv.agent.Increment(gocbcore.CounterOptions{
			Key: []byte("counter"), Delta: 5, Initial: 10, Deadline: time.Now().Add(patience),
		}, func(result *gocbcore.CounterResult, err error) {
			if err == nil {
				value = result.Value
			}
			done(err)
		})
		return err
	})
	if err == nil && value != 10 {
		return fmt.Errorf("it begins with %d", value)
	}
	return err
}

func (kv *documents) durable() error {
	_, err := kv.set("durable", "1", memd.DurabilityLevelMajority)
	return err
}

func (kv *documents) setIn(collection, key, value string) error {
	return finish(func(done func(error)) error {
		_, err := kv.agent.Set(gocbcore.SetOptions{
			ScopeName: "go", CollectionName: collection,
			Key: []byte(key), Value: []byte(value), Deadline: time.Now().Add(patience),
		}, func(_ *gocbcore.StoreResult, err error) { done(err) })
		return err
	})
}

func (kv *documents) getIn(collection, key string, patience time.Duration) (value string, err error) {
	err = finish(func(done func(error)) error {
		_, err := kv.agent.Get(gocbcore.GetOptions{
			ScopeName: "go", CollectionName: collection,
			Key: []byte(key), Deadline: time.Now().Add(patience),
		}, func(result *gocbcore.GetResult, err error) {
			if err == nil {
				value = string(result.Value)
			}
			done(err)
		})
		return err
	})
	return value, err
}

func (kv *documents) collections() error {
	const key = "of a collection"
	for _, collection := range []string{"orders", "baskets"} {
		if err := kv.setIn(collection, key, "in "+collection); err != nil {
			return err
		}
	}
	for _, collection := range []string{"orders", "baskets"} {
		value, err := kv.getIn(collection, key, patience)
		if err != nil {
			return err
		}
		if value != "in "+collection {
			return fmt.Errorf("%s reads %q", collection, value)
		}
	}
	if _, err := kv.get(key); !errors.Is(err, gocbcore.ErrDocumentNotFound) {
		return fmt.Errorf("in the default collection: %v", err)
	}
	return finish(func(done func(error)) error {
		options := gocbcore.GetCollectionIDOptions{Deadline: time.Now().Add(patience)}
		_, err := kv.agent.GetCollectionID("go", "orders", options,
			func(result *gocbcore.GetCollectionIDResult, err error) {
				if err == nil {
					kv.orders = result.CollectionID
				}
				done(err)
			})
		return err
	})
}

// The core tries again until it has no time left, as the collection may be on its way.
func (kv *documents) unknownCollection() error {
	_, err := kv.getIn("none", "key", time.Second)
	if errors.Is(err, gocbcore.ErrCollectionNotFound) || errors.Is(err, gocbcore.ErrUnambiguousTimeout) {
		return nil
	}
	return fmt.Errorf("an unknown collection: %v", err)
}

func (kv *documents) observed() error {
	return finish(func(done func(error)) error {
		_, err := kv.agent.ObserveVb(gocbcore.ObserveVbOptions{
			VbID: kv.token.VbID, VbUUID: kv.token.VbUUID, Deadline: time.Now().Add(patience),
		}, func(_ *gocbcore.ObserveVbResult, err error) { done(err) })
		return err
	})
}

// copyBucket checks what comes of the whole bucket.
func copyBucket(address string, auth gocbcore.AuthProvider, flags memd.DcpOpenFlag) error {
	watcher, err := stream(address, auth, flags, gocbcore.OpenStreamOptions{})
	if err != nil {
		return err
	}
	for index := range 500 {
		if !watcher.keys[fmt.Sprintf("many-%d", index)] {
			return fmt.Errorf("many-%d did not come", index)
		}
	}
	return nil
}

// stream brings what all vbuckets have up to where they are now.
func stream(
	address string, auth gocbcore.AuthProvider, flags memd.DcpOpenFlag, options gocbcore.OpenStreamOptions,
) (*watcher, error) {
	config := gocbcore.DCPAgentConfig{BucketName: "default"}
	config.SeedConfig.MemdAddrs = []string{address}
	config.ConfigPollerConfig.CccpMaxWait = patience
	config.SecurityConfig.Auth = auth
	config.IoConfig.UseCollections = true
	config.CompressionConfig.Enabled = true
	config.DCPConfig.BufferSize = 256 * 1024
	config.DCPConfig.UseExpiryOpcode = flags&memd.DcpOpenFlagIncludeDeleteTimes != 0
	agent, err := gocbcore.CreateDcpAgent(&config, "interop", flags)
	if err != nil {
		return nil, err
	}
	defer agent.Close()
	err = finish(func(done func(error)) error {
		_, err := agent.WaitUntilReady(time.Now().Add(patience), gocbcore.WaitUntilReadyOptions{},
			func(_ *gocbcore.WaitUntilReadyResult, err error) { done(err) })
		return err
	})
	if err != nil {
		return nil, err
	}
	var seqnos []gocbcore.VbSeqNoEntry
	err = finish(func(done func(error)) error {
		_, err := agent.GetVbucketSeqnos(0, memd.VbucketStateActive, gocbcore.GetVbucketSeqnoOptions{},
			func(entries []gocbcore.VbSeqNoEntry, err error) {
				seqnos = entries
				done(err)
			})
		return err
	})
	if err != nil {
		return nil, err
	}
	watcher := &watcher{keys: map[string]bool{}, ended: make(chan error, len(seqnos))}
	opened := 0
	for _, entry := range seqnos {
		if entry.SeqNo == 0 {
			continue
		}
		opened++
		err = finish(func(done func(error)) error {
			_, err := agent.OpenStream(entry.VbID, 0, 0, 0, entry.SeqNo, 0, 0, watcher,
				options, func(_ []gocbcore.FailoverEntry, err error) { done(err) })
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	for range opened {
		select {
		case err := <-watcher.ended:
			if err != nil {
				return nil, err
			}
		case <-time.After(patience):
			return nil, errors.New("streams do not end")
		}
	}
	if watcher.fault != nil {
		return nil, watcher.fault
	}
	return watcher, nil
}

type watcher struct {
	lock sync.Mutex
	keys map[string]bool
	// How often a collection was said to have been made.
	created int
	ends    map[uint16]uint64
	fault   error
	ended   chan error
}

func (w *watcher) SnapshotMarker(marker gocbcore.DcpSnapshotMarker) {
	w.lock.Lock()
	defer w.lock.Unlock()
	if w.ends == nil {
		w.ends = map[uint16]uint64{}
	}
	w.ends[marker.VbID] = marker.EndSeqNo
}

func (w *watcher) change(vbID uint16, seqno uint64, key []byte, lives bool) {
	w.lock.Lock()
	defer w.lock.Unlock()
	if seqno > w.ends[vbID] {
		w.fault = fmt.Errorf("seqno %d is behind its snapshot", seqno)
	}
	w.keys[string(key)] = lives
}

func (w *watcher) Mutation(m gocbcore.DcpMutation)     { w.change(m.VbID, m.SeqNo, m.Key, true) }
func (w *watcher) Deletion(d gocbcore.DcpDeletion)     { w.change(d.VbID, d.SeqNo, d.Key, false) }
func (w *watcher) Expiration(e gocbcore.DcpExpiration) { w.change(e.VbID, e.SeqNo, e.Key, false) }
func (w *watcher) End(_ gocbcore.DcpStreamEnd, err error) {
	w.ended <- err
}
func (w *watcher) CreateCollection(gocbcore.DcpCollectionCreation) {
	w.lock.Lock()
	defer w.lock.Unlock()
	w.created++
}
func (w *watcher) DeleteCollection(gocbcore.DcpCollectionDeletion)     {}
func (w *watcher) FlushCollection(gocbcore.DcpCollectionFlush)         {}
func (w *watcher) CreateScope(gocbcore.DcpScopeCreation)               {}
func (w *watcher) DeleteScope(gocbcore.DcpScopeDeletion)               {}
func (w *watcher) ModifyCollection(gocbcore.DcpCollectionModification) {}
func (w *watcher) OSOSnapshot(gocbcore.DcpOSOSnapshot)                 {}
func (w *watcher) SeqNoAdvanced(gocbcore.DcpSeqNoAdvanced)             {}
