// The generator and the hash of the interop tests in Go; tests/clients/README.md specifies both and
// tests/clients/spec.py is their first implementation. A record is a pure function of (seed, partition, index).

package main

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const poolBytes = 1 << 20

var (
	headerNames  = []string{"h", "h", "trace-id", "ключ"}
	headerCounts = []int{0, 0, 1, 4}
)

type spec struct {
	topic          string
	seed           uint64
	partitions     int
	records        int
	ts0            int64
	codecs         []string
	without        []string
	pool           []byte
	withTimestamps bool
}

func newSpec(text string) *spec {
	fields := map[string]string{
		"seed": "1", "partitions": "1", "records": "0", "ts0": "1700000000000", "codecs": "none,gzip,snappy,lz4,zstd",
	}
	for _, word := range strings.Fields(text) {
		key, value, _ := strings.Cut(word, "=")
		fields[key] = value
	}
	number := func(key string) int64 {
		n, err := strconv.ParseInt(fields[key], 10, 64)
		if err != nil {
			panic(fmt.Errorf("SPEC %s: %w", key, err))
		}
		return n
	}
	s := &spec{
		topic: fields["topic"], seed: uint64(number("seed")), partitions: int(number("partitions")), records: int(number("records")),
		ts0: number("ts0"), codecs: strings.Split(fields["codecs"], ","), without: strings.Split(fields["without"], ","),
	}
	s.withTimestamps = !slices.Contains(s.without, "timestamps")
	for i := uint64(0); i < poolBytes/8; i++ {
		word := i
		if i>>9&1 == 1 {
			word = i&^511 | i&7
		}
		s.pool = binary.LittleEndian.AppendUint64(s.pool, mix(s.seed+word))
	}
	return s
}

func mix(x uint64) uint64 {
	x += 0x9E3779B97F4A7C15
	x = (x ^ x>>30) * 0xBF58476D1CE4E5B9
	x = (x ^ x>>27) * 0x94D049BB133111EB
	return x ^ x>>31
}

func pick(base uint64, k, n int) int {
	return int(mix(base+uint64(k)) >> 32 % uint64(n))
}

// count tells how many of the records lie in a partition.
func (s *spec) count(partition int) int {
	if partition < s.records%s.partitions {
		return s.records/s.partitions + 1
	}
	return s.records / s.partitions
}

func (s *spec) record(partition, index int) *kgo.Record {
	base := mix(mix(s.seed) ^ (uint64(partition)<<40 | uint64(index)))
	headerBase := base
	if slices.Contains(s.without, "row-headers") {
		headerBase = mix(mix(s.seed) ^ (uint64(partition)<<40 | 0xFFFFFFFF))
	}
	r := &kgo.Record{Topic: s.topic, Partition: int32(partition), Headers: s.headers(headerBase)}
	if length := valueLength(base); length >= 0 {
		r.Value = s.slice(pick(base, 3, poolBytes/2), length)
	}
	switch pick(base, 4, 10) {
	case 0:
	case 1:
		r.Key = []byte{}
	default:
		r.Key = s.slice(pick(base, 5, poolBytes/2), 1+pick(base, 6, 32))
	}
	if slices.Contains(s.without, "empty") {
		r.Key, r.Value = nilIfEmpty(r.Key), nilIfEmpty(r.Value)
	}
	if slices.Contains(s.without, "null-records") && r.Key == nil && r.Value == nil {
		r.Value = []byte{}
	}
	if s.withTimestamps {
		r.Timestamp = time.UnixMilli(s.ts0 + int64(index)*5 + int64(pick(base, 30, 2001)) - 1000)
	}
	return r
}

func (s *spec) headers(base uint64) []kgo.RecordHeader {
	headers := make([]kgo.RecordHeader, headerCounts[pick(base, 7, 4)])
	for j := range headers {
		headers[j].Key = headerNames[pick(base, 8+3*j, 4)]
		if size := pick(base, 9+3*j, 18) - 1; size >= 0 {
			headers[j].Value = slices.Clone(s.slice(pick(base, 10+3*j, poolBytes/2), size))
			for b := range headers[j].Value {
				headers[j].Value[b] |= 0x80
			}
		} else if slices.Contains(s.without, "null-headers") {
			headers[j].Value = []byte{}
		}
	}
	if slices.Contains(s.without, "duplicate-headers") {
		headers = lastOfEachName(headers)
	}
	if slices.Contains(s.without, "header-order") {
		slices.SortStableFunc(headers, func(a, b kgo.RecordHeader) int { return strings.Compare(a.Key, b.Key) })
	}
	return headers
}

func lastOfEachName(headers []kgo.RecordHeader) []kgo.RecordHeader {
	var named []kgo.RecordHeader
	for _, header := range headers {
		at := slices.IndexFunc(named, func(h kgo.RecordHeader) bool { return h.Key == header.Key })
		if at < 0 {
			named = append(named, header)
		} else {
			named[at] = header
		}
	}
	return named
}

func (s *spec) slice(start, length int) []byte {
	return s.pool[start : start+length : start+length]
}

func nilIfEmpty(data []byte) []byte {
	if len(data) == 0 {
		return nil
	}
	return data
}

func valueLength(base uint64) int {
	switch c := pick(base, 1, 1000); {
	case c < 30:
		return -1
	case c < 50:
		return 0
	case c < 980:
		return 1 + pick(base, 2, 1023)
	case c < 995:
		return 1 + pick(base, 2, 16384)
	case c < 999:
		return 1 + pick(base, 2, 65536)
	case pick(base, 2, 8) == 0:
		return 524288
	}
	return 524288 - pick(base, 2, 524288)
}

// digest is order-sensitive: a SHA-256 a partition, and one over those in partition order.
type digest struct {
	spec       *spec
	partitions []hash.Hash
	count      int
}

func newDigest(s *spec) *digest {
	d := &digest{spec: s}
	for range s.partitions {
		d.partitions = append(d.partitions, sha256.New())
	}
	return d
}

func (d *digest) add(offset int64, r *kgo.Record) {
	out := binary.BigEndian.AppendUint32(nil, uint32(r.Partition))
	out = binary.BigEndian.AppendUint64(out, uint64(offset))
	timestamp := int64(0)
	if d.spec.withTimestamps {
		timestamp = r.Timestamp.UnixMilli()
	}
	out = binary.BigEndian.AppendUint64(out, uint64(timestamp))
	out = appendField(appendField(out, r.Key), r.Value)
	out = binary.BigEndian.AppendUint32(out, uint32(len(r.Headers)))
	for _, h := range r.Headers {
		out = appendField(appendField(out, []byte(h.Key)), h.Value)
	}
	d.partitions[r.Partition].Write(out)
	d.count++
}

func appendField(out, data []byte) []byte {
	if data == nil {
		return binary.BigEndian.AppendUint32(out, 0xFFFFFFFF)
	}
	return append(binary.BigEndian.AppendUint32(out, uint32(len(data))), data...)
}

// answer is `<count> <hash>`.
func (d *digest) answer() string {
	total := sha256.New()
	for _, p := range d.partitions {
		total.Write(p.Sum(nil))
	}
	return fmt.Sprintf("%d %s", d.count, hex.EncodeToString(total.Sum(nil))[:16])
}

// expect is what every reader must answer, from the generator alone.
func expect(s *spec) string {
	d := newDigest(s)
	for p := range s.partitions {
		for i := range s.count(p) {
			d.add(int64(i), s.record(p, i))
		}
	}
	return d.answer()
}
