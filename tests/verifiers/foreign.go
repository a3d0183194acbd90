// foreign DIR SIZE: writes a tlog-tiles log with Go's own transparency log packages, and prints its verifier key.
//
// What golang.org/x/mod/sumdb/tlog and note write is foreign to us in every byte; only the names of the files and the
// lengths before the entries are C2SP's tlog-tiles.
package main

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const height = 8
const width = 1 << height

type hashes []tlog.Hash

func (h hashes) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	found := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		found[i] = h[index]
	}
	return found, nil
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func write(dir, name string, data []byte) {
	path := filepath.Join(dir, name)
	check(os.MkdirAll(filepath.Dir(path), 0o755))
	check(os.WriteFile(path, data, 0o644))
}

// path names a tile as tlog-tiles does: tlog's own name without the height, "entries" for "data".
func path(t tlog.Tile) string {
	name := strings.TrimPrefix(t.Path(), "tile/"+strconv.Itoa(height)+"/")
	return "tile/" + strings.Replace(name, "data/", "entries/", 1)
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "foreign DIR SIZE")
		os.Exit(2)
	}
	dir := os.Args[1]
	size, err := strconv.ParseInt(os.Args[2], 10, 64)
	check(err)

	var stored hashes
	bundles := map[int64][]byte{}
	for index := int64(0); index < size; index++ {
		entry := []byte(fmt.Sprintf("entry %d of another implementation", index))
		more, err := tlog.StoredHashes(index, entry, stored)
		check(err)
		stored = append(stored, more...)
		bundle := binary.BigEndian.AppendUint16(bundles[index/width], uint16(len(entry)))
		bundles[index/width] = append(bundle, entry...)
	}
	for number, bundle := range bundles {
		tile := tlog.Tile{H: height, L: -1, N: number, W: width}
		if rest := size - number*width; rest < width {
			tile.W = int(rest)
		}
		write(dir, path(tile), bundle)
	}
	for _, tile := range tlog.NewTiles(height, 0, size) {
		// tlog names the partial tiles of all smaller trees too; a log keeps that of its own size.
		if tile.W < width && tile.N*width+int64(tile.W) != size>>(height*tile.L) {
			continue
		}
		data, err := tlog.ReadTileData(tile, stored)
		check(err)
		write(dir, path(tile), data)
	}

	root, err := tlog.TreeHash(size, stored)
	check(err)
	secret, public, err := note.GenerateKey(rand.Reader, "go.example/log")
	check(err)
	signer, err := note.NewSigner(secret)
	check(err)
	text := fmt.Sprintf("go.example/log\n%d\n%s\n", size, root)
	signed, err := note.Sign(&note.Note{Text: text}, signer)
	check(err)
	write(dir, "checkpoint", signed)
	write(dir, "key", []byte(public+"\n"))
	fmt.Println(public)
}
