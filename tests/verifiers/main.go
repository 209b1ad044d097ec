// Verifies a published record with libraries that are not Strongroom's:
//
//	verifiers fsck URL VKEY            tessera's fsck: every entry, every tile, the root
//	verifiers sumdb URL VKEY           golang.org/x/mod/sumdb: the note, and the tree built from the entries
//	verifiers torchwood URL VKEY       filippo.io/torchwood: a client that reads all entries with their proofs
//	verifiers receipt FILE VKEY        transparency-dev/merkle: a receipt's inclusion proof
//	verifiers cosigned NOTE VKEY WITNESS  x/mod and torchwood: that log and witness have both signed the checkpoint
//	verifiers grown URL OLD-NOTE VKEY  x/mod: that the log at URL is OLD-NOTE's, and only has more entries
//	verifiers sizes FOLDER VKEY        fsck, sumdb and torchwood, for each folder in it, and that each is the one before, grown;
//	                                   prints the sizes
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"time"

	"filippo.io/torchwood"
	"github.com/transparency-dev/formats/log"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/fsck"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func get(base, path string) ([]byte, error) {
	r, err := http.Get(strings.TrimSuffix(base, "/") + "/" + path)
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	if r.StatusCode != 200 {
		return nil, fmt.Errorf("%s: %s", path, r.Status)
	}
	return io.ReadAll(r.Body)
}

func checkpoint(raw []byte, vkey string) (torchwood.Checkpoint, error) {
	v, err := note.NewVerifier(vkey)
	if err != nil {
		return torchwood.Checkpoint{}, err
	}
	n, err := note.Open(raw, note.VerifierList(v))
	if err != nil {
		return torchwood.Checkpoint{}, err
	}
	c, err := torchwood.ParseCheckpoint(n.Text)
	if err == nil && c.Origin != v.Name() {
		err = fmt.Errorf("origin %q is not the key's name %q", c.Origin, v.Name())
	}
	return c, err
}

func remoteCheckpoint(base, vkey string) (torchwood.Checkpoint, error) {
	raw, err := get(base, "checkpoint")
	if err != nil {
		return torchwood.Checkpoint{}, err
	}
	return checkpoint(raw, vkey)
}

func leafHashes(bundle []byte) ([][]byte, error) {
	eb := &api.EntryBundle{}
	if err := eb.UnmarshalText(bundle); err != nil {
		return nil, err
	}
	var out [][]byte
	for _, e := range eb.Entries {
		out = append(out, rfc6962.DefaultHasher.HashLeaf(e))
	}
	return out, nil
}

func runFsck(base, vkey string) error {
	u, err := url.Parse(strings.TrimSuffix(base, "/") + "/")
	if err != nil {
		return err
	}
	v, err := note.NewVerifier(vkey)
	if err != nil {
		return err
	}
	f, err := client.NewHTTPFetcher(u, nil)
	if err != nil {
		return err
	}
	return watch(fsck.New(v.Name(), v, f, leafHashes, fsck.Opts{N: 2}))
}

// watch runs it. When a tile does not fit, its workers end with that error, and the rest waits for them for ever:
// that nothing is fetched any more is then its answer.
func watch(f *fsck.Fsck) error {
	done := make(chan error, 1)
	go func() { done <- f.Check(context.Background()) }()
	for {
		select {
		case err := <-done:
			return err
		case <-time.After(3 * time.Second):
			if f.Status().ResourcesFetched == 0 {
				return fmt.Errorf("a tile is not what the entries below it make")
			}
		}
	}
}

// allHashes keeps what x/mod calls the stored hashes, in memory.
type allHashes []tlog.Hash

func (a allHashes) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	var out []tlog.Hash
	for _, i := range indexes {
		if i >= int64(len(a)) {
			return nil, fmt.Errorf("hash %d is not there", i)
		}
		out = append(out, a[i])
	}
	return out, nil
}

// build reads all bundles of the checkpoint and builds the tree from their entries.
func build(base string, c torchwood.Checkpoint) (allHashes, error) {
	var stored allHashes
	for n := int64(0); n < c.N; {
		t := tlog.Tile{H: torchwood.TileHeight, L: -1, N: n / 256, W: 256}
		if c.N-n < 256 {
			t.W = int(c.N - n)
		}
		bundle, err := get(base, torchwood.TilePath(t))
		if err != nil {
			return nil, err
		}
		for i := 0; i < t.W; i++ {
			var entry []byte
			if entry, bundle, err = torchwood.ReadTileEntry(bundle); err != nil {
				return nil, err
			}
			hashes, err := tlog.StoredHashes(n, entry, stored)
			if err != nil {
				return nil, err
			}
			stored = append(stored, hashes...)
			n++
		}
	}
	return stored, nil
}

func runSumdb(base, vkey string) error {
	c, err := remoteCheckpoint(base, vkey)
	if err != nil {
		return err
	}
	stored, err := build(base, c)
	if err != nil {
		return err
	}
	root, err := tlog.TreeHash(c.N, stored)
	if err == nil && root != c.Hash {
		err = fmt.Errorf("the entries' root is %v, the checkpoint's %v", root, c.Hash)
	}
	return err
}

func runGrown(base, oldNote, vkey string) error {
	raw, err := os.ReadFile(oldNote)
	if err != nil {
		return err
	}
	old, err := checkpoint(raw, vkey)
	if err != nil {
		return err
	}
	c, err := remoteCheckpoint(base, vkey)
	if err != nil {
		return err
	}
	if c.N < old.N {
		return fmt.Errorf("the log has shrunk from %d to %d entries", old.N, c.N)
	}
	stored, err := build(base, c)
	if err != nil {
		return err
	}
	p, err := tlog.ProveTree(c.N, old.N, stored)
	if err != nil {
		return err
	}
	return tlog.CheckTree(p, c.N, c.Hash, old.N, old.Hash)
}

func runTorchwood(base, vkey string) error {
	c, err := remoteCheckpoint(base, vkey)
	if err != nil {
		return err
	}
	f, err := torchwood.NewTileFetcher(base)
	if err != nil {
		return err
	}
	cl, err := torchwood.NewClient(f)
	if err != nil {
		return err
	}
	n := int64(0)
	for i := range cl.AllEntries(context.Background(), c.Tree, 0) {
		if i != n {
			return fmt.Errorf("entry %d comes after %d", i, n-1)
		}
		n++
	}
	if cl.Err() != nil {
		return cl.Err()
	}
	if n != c.N {
		return fmt.Errorf("%d entries of %d", n, c.N)
	}
	return nil
}

// runReceipt reads a C2SP tlog-proof whose extra data is the entry.
func runReceipt(file, vkey string) error {
	raw, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	head, signed, found := bytes.Cut(raw, []byte("\n\n"))
	if !found {
		return fmt.Errorf("no checkpoint")
	}
	lines := bufio.NewScanner(bytes.NewReader(head))
	lines.Buffer(nil, 1<<20)
	var entry []byte
	var index uint64
	var hashes [][]byte
	for n := 0; lines.Scan(); n++ {
		line := lines.Text()
		switch {
		case n == 0 && line == "c2sp.org/tlog-proof@v1":
		case n == 1 && strings.HasPrefix(line, "extra "):
			entry, err = base64.StdEncoding.DecodeString(line[len("extra "):])
		case n == 2 && strings.HasPrefix(line, "index "):
			index, err = strconv.ParseUint(line[len("index "):], 10, 64)
		case n > 2:
			var h []byte
			h, err = base64.StdEncoding.DecodeString(line)
			hashes = append(hashes, h)
		default:
			err = fmt.Errorf("line %d: %q", n, line)
		}
		if err != nil {
			return err
		}
	}
	v, err := note.NewVerifier(vkey)
	if err != nil {
		return err
	}
	c, _, _, err := log.ParseCheckpoint(signed, v.Name(), v)
	if err != nil {
		return err
	}
	return proof.VerifyInclusion(rfc6962.DefaultHasher, index, c.Size, rfc6962.DefaultHasher.HashLeaf(entry), hashes, c.Hash)
}

// runCosigned opens a checkpoint that must carry both signatures.
func runCosigned(file, logKey, witnessKey string) error {
	raw, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	log, err := note.NewVerifier(logKey)
	if err != nil {
		return err
	}
	witness, err := torchwood.NewCosignatureVerifier(witnessKey)
	if err != nil {
		return err
	}
	n, err := note.Open(raw, note.VerifierList(log, witness))
	if err != nil {
		return err
	}
	if len(n.Sigs) != 2 {
		return fmt.Errorf("%d of 2 signatures", len(n.Sigs))
	}
	return nil
}

// judge runs all that read whole logs.
func judge(base, vkey string) error {
	for _, v := range []struct {
		name string
		run  func(base, vkey string) error
	}{{"fsck", runFsck}, {"sumdb", runSumdb}, {"torchwood", runTorchwood}} {
		if err := v.run(base, vkey); err != nil {
			return fmt.Errorf("%s: %w", v.name, err)
		}
	}
	return nil
}

// runSizes looks at one log as it was at many sizes, in the order of their folders' numbers.
func runSizes(folder, vkey string) error {
	found, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	var sizes []int
	for _, f := range found {
		n, err := strconv.Atoi(f.Name())
		if err != nil {
			return err
		}
		sizes = append(sizes, n)
	}
	sort.Ints(sizes)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go http.Serve(l, http.FileServer(http.Dir(folder)))
	for i, n := range sizes {
		base := fmt.Sprintf("http://%s/%d", l.Addr(), n)
		if err := judge(base, vkey); err != nil {
			return fmt.Errorf("size %d: %w", n, err)
		}
		if i > 0 && sizes[i-1] > 0 {
			before := filepath.Join(folder, strconv.Itoa(sizes[i-1]), "checkpoint")
			if err := runGrown(base, before, vkey); err != nil {
				return fmt.Errorf("size %d, after %d: %w", n, sizes[i-1], err)
			}
		}
		fmt.Println(n)
	}
	return nil
}

func main() {
	commands := map[string]struct {
		args int
		run  func(a []string) error
	}{
		"fsck":      {2, func(a []string) error { return runFsck(a[0], a[1]) }},
		"sumdb":     {2, func(a []string) error { return runSumdb(a[0], a[1]) }},
		"torchwood": {2, func(a []string) error { return runTorchwood(a[0], a[1]) }},
		"receipt":   {2, func(a []string) error { return runReceipt(a[0], a[1]) }},
		"cosigned":  {3, func(a []string) error { return runCosigned(a[0], a[1], a[2]) }},
		"sizes":     {2, func(a []string) error { return runSizes(a[0], a[1]) }},
		"grown":     {3, func(a []string) error { return runGrown(a[0], a[1], a[2]) }},
	}
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: verifiers fsck|sumdb|torchwood|receipt|cosigned|grown|sizes …")
		os.Exit(2)
	}
	c, known := commands[os.Args[1]]
	if !known || len(os.Args) != 2+c.args {
		fmt.Fprintln(os.Stderr, "verifiers: unknown command or wrong number of arguments")
		os.Exit(2)
	}
	if err := c.run(os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
