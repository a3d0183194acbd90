// verify DIR: verifies the tree of a log's folder with Go's own transparency log packages.
//
// Shares no line with the program that wrote the log: golang.org/x/mod/sumdb/note opens the checkpoint and
// golang.org/x/mod/sumdb/tlog computes every hash; paths and bundles are C2SP's tlog-tiles. Every file under tile/ is
// read, old partial ones too. Copy the folder, or stop its writer, first. Exit 0: all holds.
package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const height = 8
const width = 1 << height

// entriesLevel stands for the level of entry bundles, as in tlog's "data" tiles.
const entriesLevel = -1

type block struct {
	Height, First, Count, Time int64
	Prev                       string
}

// tree holds the recomputed hashes in tlog's storage order, and each entry behind its length.
type tree struct {
	hashes []tlog.Hash
	lines  [][]byte
}

func (t *tree) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	found := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		if index >= int64(len(t.hashes)) {
			return nil, errors.New("no such hash yet")
		}
		found[i] = t.hashes[index]
	}
	return found, nil
}

// checkpoint gives origin, size and root that the key in `key` signed; each file has one spelling.
func checkpoint(dir string) (string, int64, tlog.Hash, error) {
	none := func(err error) (string, int64, tlog.Hash, error) { return "", 0, tlog.Hash{}, err }
	key, err := os.ReadFile(filepath.Join(dir, "key"))
	if err != nil {
		return none(err)
	}
	verifier, err := note.NewVerifier(strings.TrimSuffix(string(key), "\n"))
	if err != nil {
		return none(fmt.Errorf("key: %v", err))
	}
	// NewVerifier takes other spellings of the same key too.
	parts := strings.SplitN(strings.TrimSuffix(string(key), "\n"), "+", 3)
	typed, err := base64.StdEncoding.Strict().DecodeString(parts[2])
	spelling := fmt.Sprintf("%s+%08x+%s\n", verifier.Name(), verifier.KeyHash(), base64.StdEncoding.EncodeToString(typed))
	if err != nil || spelling != string(key) {
		return none(errors.New("key: not in its one spelling"))
	}
	text, err := os.ReadFile(filepath.Join(dir, "checkpoint"))
	if err != nil {
		return none(err)
	}
	opened, err := note.Open(text, note.VerifierList(verifier))
	if err != nil || len(opened.Sigs) != 1 {
		return none(fmt.Errorf("checkpoint: %v", err))
	}
	signature, err := base64.StdEncoding.Strict().DecodeString(opened.Sigs[0].Base64)
	if err != nil {
		return none(fmt.Errorf("checkpoint: %v", err))
	}
	spelled := opened.Text + "\n\u2014 " + verifier.Name() + " " + base64.StdEncoding.EncodeToString(signature) + "\n"
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || spelled != string(text) || lines[0] != verifier.Name() {
		return none(errors.New("checkpoint: malformed, or of another origin"))
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 0 || strconv.FormatInt(size, 10) != lines[1] {
		return none(errors.New("checkpoint: no tree size"))
	}
	root, err := tlog.ParseHash(lines[2])
	if err != nil || root.String() != lines[2] {
		return none(errors.New("checkpoint: no root hash"))
	}
	return lines[0], size, root, nil
}

// pathOf names a tile as tlog-tiles does: tlog's own name without the height, "entries" for "data".
func pathOf(t tlog.Tile) string {
	t.H = height
	name := strings.TrimPrefix(t.Path(), "tile/"+strconv.Itoa(height)+"/")
	return "tile/" + strings.Replace(name, "data/", "entries/", 1)
}

// parsePath reads a tile's name, in the one spelling of pathOf.
func parsePath(name string) (tlog.Tile, error) {
	inner := strings.Replace(strings.TrimPrefix(name, "tile/"), "entries/", "data/", 1)
	t, err := tlog.ParseTilePath("tile/" + strconv.Itoa(height) + "/" + inner)
	if err == nil && pathOf(t) != name {
		err = errors.New("no name of a tile")
	}
	return t, err
}

// readBundle gives the bytes of a bundle; the full one stands in for a partial one that is gone.
func readBundle(dir string, t tlog.Tile) ([]byte, error) {
	data, err := os.ReadFile(filepath.Join(dir, pathOf(t)))
	if errors.Is(err, fs.ErrNotExist) {
		t.W = width
		data, err = os.ReadFile(filepath.Join(dir, pathOf(t)))
	}
	return data, err
}

// content gives the bytes that a tile of some width must have.
func (t *tree) content(tile tlog.Tile, size int64) ([]byte, error) {
	first := tile.N * width
	if tile.L > 7 || tile.W < 1 || tile.W > width || first+int64(tile.W) > size>>(height*max(tile.L, 0)) {
		return nil, errors.New("no tile of this log at its size")
	}
	if tile.L == entriesLevel {
		return bytes.Join(t.lines[first:first+int64(tile.W)], nil), nil
	}
	return tlog.ReadTileData(tile, t)
}

func max(a, b int) int {
	if a > b {
		return a
	}
	return b
}

// follow takes in one entry; last is the block leaf before it.
func (t *tree) follow(index int64, entry []byte, last *block, lastHash *tlog.Hash) error {
	hashes, err := tlog.StoredHashes(index, entry, t)
	if err != nil {
		return err
	}
	t.hashes = append(t.hashes, hashes...)
	t.lines = append(t.lines, append(binary.BigEndian.AppendUint16(nil, uint16(len(entry))), entry...))
	if !bytes.HasPrefix(entry, []byte(`{"body":`)) || !bytes.HasSuffix(entry, []byte(`,"type":"block"}`)) {
		return nil
	}
	var leaf struct{ Body block }
	if err := json.Unmarshal(entry, &leaf); err != nil {
		return err
	}
	found := leaf.Body
	if found.Height != last.Height+1 || found.Prev != fmt.Sprintf("%x", lastHash[:]) {
		return errors.New("it does not continue the block before")
	}
	if found.First != last.First+last.Count+1 || found.First+found.Count != index {
		return errors.New("it does not cover the entries since the block before")
	}
	if found.Time < last.Time || found.Time%60 != 0 {
		return errors.New("its time goes backwards or is no whole minute")
	}
	*last, *lastHash = found, tlog.RecordHash(entry)
	return nil
}

func verify(dir string) (string, error) {
	origin, size, root, err := checkpoint(dir)
	if err != nil {
		return "", err
	}
	t, last, lastHash := &tree{}, &block{Height: -1, Count: -1}, &tlog.Hash{}
	for index := int64(0); index < size; {
		tile := tlog.Tile{H: height, L: entriesLevel, N: index / width, W: width}
		if rest := size - index; rest < width {
			tile.W = int(rest)
		}
		data, err := readBundle(dir, tile)
		if err != nil {
			return "", fmt.Errorf("%s: %v", pathOf(tile), err)
		}
		for end := index + int64(tile.W); index < end; index++ {
			if len(data) < 2 || len(data) < 2+int(binary.BigEndian.Uint16(data)) {
				return "", fmt.Errorf("%s: it ends within an entry", pathOf(tile))
			}
			length := 2 + int(binary.BigEndian.Uint16(data))
			if err := t.follow(index, data[2:length], last, lastHash); err != nil {
				return "", fmt.Errorf("entry %d: %v", index, err)
			}
			data = data[length:]
		}
	}
	// tlog's hash of no entries is all zeros; RFC 6962's is that of no bytes.
	computed, _ := tlog.ParseHash("47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=")
	if size > 0 {
		if computed, err = tlog.TreeHash(size, t); err != nil {
			return "", err
		}
	}
	if computed != root {
		return "", errors.New("checkpoint: its root is not the root of the entries")
	}
	if last.First+last.Count+1 != size {
		return "", errors.New("checkpoint: the last entry closes no block")
	}
	files, err := t.compare(dir, size)
	line := "%s: %d entries re-hashed, %d blocks linked, %d files compared, signature and root hold"
	return fmt.Sprintf(line, origin, size, last.Height+1, files), err
}

// compare reads every file under tile/, and sees that each place has its newest one.
func (t *tree) compare(dir string, size int64) (files int, err error) {
	seen := map[tlog.Tile]bool{}
	err = filepath.WalkDir(filepath.Join(dir, "tile"), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		relative, _ := filepath.Rel(dir, path)
		name := filepath.ToSlash(relative)
		tile, err := parsePath(name)
		if err != nil {
			return fmt.Errorf("%s: %v", name, err)
		}
		expected, err := t.content(tile, size)
		if err != nil {
			return fmt.Errorf("%s: %v", name, err)
		}
		found, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(found, expected) {
			return fmt.Errorf("%s: it is not the recomputed tile (%v)", name, err)
		}
		seen[tile], files = true, files+1
		return nil
	})
	for level := entriesLevel; size>>(height*max(level, 0)) > 0 && err == nil; level++ {
		count := size >> (height * max(level, 0))
		for first := int64(0); first < count && err == nil; first += width {
			tile := tlog.Tile{H: height, L: level, N: first / width, W: width}
			if count-first < width {
				tile.W = int(count - first)
			}
			if !seen[tile] {
				err = fmt.Errorf("%s: the file is missing", pathOf(tile))
			}
		}
	}
	return files, err
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "verify DIR")
		os.Exit(2)
	}
	line, err := verify(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "BROKEN", err)
		os.Exit(1)
	}
	fmt.Println(line)
}
