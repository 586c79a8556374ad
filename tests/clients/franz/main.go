// franz-go behind the line protocol of tests/clients/README.md: commands on standard input, one answer line each on
// standard output. Produces idempotently, one client a codec; reads by assigned partitions, without a group.

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const quietMax = time.Minute

var codecs = map[string]kgo.CompressionCodec{
	"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
	"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		command, rest, _ := strings.Cut(strings.TrimSpace(lines.Text()), " ")
		answer, err := run(command, rest, lines)
		if err != nil {
			answer = "error " + strings.ReplaceAll(err.Error(), "\n", " ")
		}
		fmt.Println(answer)
	}
}

func run(command, rest string, lines *bufio.Scanner) (string, error) {
	switch command {
	case "create":
		return create(strings.Fields(rest))
	case "expect":
		return expect(newSpec(rest)), nil
	case "produce":
		return produce(newSpec(rest))
	case "read":
		return read(newSpec(rest))
	case "member":
		return member(rest, lines)
	}
	return "", errors.New("unknown command " + command)
}

func client(options ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append(options, kgo.SeedBrokers(os.Args[1]), kgo.FetchMaxWait(100*time.Millisecond))...)
}

// create TOPIC PARTITIONS [KEY=VALUE…]
func create(words []string) (string, error) {
	partitions, err := strconv.Atoi(words[1])
	if err != nil {
		return "", err
	}
	configs := map[string]*string{}
	for _, word := range words[2:] {
		key, value, _ := strings.Cut(word, "=")
		configs[key] = &value
	}
	c, err := client()
	if err != nil {
		return "", err
	}
	defer c.Close()
	_, err = kadm.NewClient(c).CreateTopic(context.Background(), int32(partitions), 1, configs, words[0])
	return "ok", err
}

func produce(s *spec) (string, error) {
	clients := map[string]*kgo.Client{}
	for _, codec := range s.codecs {
		c, err := client(kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(codecs[codec]),
			kgo.ProducerLinger(5*time.Millisecond), kgo.MaxBufferedBytes(64<<20))
		if err != nil {
			return "", err
		}
		defer c.Close()
		clients[codec] = c
	}
	var failed error
	var once sync.Once
	for i := range s.count(0) {
		for p := 0; p < s.partitions && i < s.count(p); p++ {
			clients[s.codecs[p%len(s.codecs)]].Produce(context.Background(), s.record(p, i), func(_ *kgo.Record, err error) {
				if err != nil {
					once.Do(func() { failed = err })
				}
			})
		}
	}
	for _, c := range clients {
		if err := c.Flush(context.Background()); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("ok %d", s.records), failed
}

// read hashes all records up to the ends seen at the start.
func read(s *spec) (string, error) {
	c, err := client()
	if err != nil {
		return "", err
	}
	defer c.Close()
	ctx := context.Background()
	ends, err := kadm.NewClient(c).ListEndOffsets(ctx, s.topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return "", err
	}
	left, from := map[int32]int64{}, map[int32]kgo.Offset{}
	ends.Each(func(end kadm.ListedOffset) {
		if end.Offset > 0 {
			left[end.Partition], from[end.Partition] = end.Offset, kgo.NewOffset().AtStart()
		}
	})
	c.AddConsumePartitions(map[string]map[int32]kgo.Offset{s.topic: from})
	d := newDigest(s)
	for len(left) > 0 {
		quiet, cancel := context.WithTimeout(ctx, quietMax)
		fetches := c.PollFetches(quiet)
		cancel()
		if err := fetches.Err(); err != nil {
			return "", fmt.Errorf("%w, still to come: %v", err, left)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			d.add(r.Offset, r)
			if end, open := left[r.Partition]; open && r.Offset+1 >= end {
				delete(left, r.Partition)
			}
		})
	}
	return d.answer(), nil
}
