// `member WORDS`: one member of a group that says what happens to it (tests/clients/README.md), until a line arrives on standard
// input.

package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const commitEvery = 250 * time.Millisecond

var balancers = map[string]func() kgo.GroupBalancer{
	"range": kgo.RangeBalancer, "roundrobin": kgo.RoundRobinBalancer, "sticky": kgo.StickyBalancer,
	"cooperative-sticky": kgo.CooperativeStickyBalancer, "uniform": kgo.StickyBalancer,
}

type groupMember struct {
	topic string
	say   sync.Mutex
	// Where to go on after what was consumed and is not committed. Callbacks come only while nothing is polled.
	due map[int32]int64
}

func member(rest string, lines *bufio.Scanner) (string, error) {
	words := map[string]string{}
	for _, word := range strings.Fields(rest) {
		key, value, _ := strings.Cut(word, "=")
		words[key] = value
	}
	m := &groupMember{topic: words["topic"], due: map[int32]int64{}}
	c, err := client(m.options(words)...)
	if err != nil {
		return "", err
	}
	ctx, told := context.WithCancel(context.Background())
	go func() {
		lines.Scan()
		told()
	}()
	if err := m.live(ctx, c); err != nil {
		m.print("failed", err.Error())
		return "", err
	}
	c.CloseAllowingRebalance()
	m.print("closed")
	return "ok", nil
}

func (m *groupMember) options(words map[string]string) []kgo.Opt {
	ms := func(name string) time.Duration {
		n, _ := strconv.Atoi(words[name])
		return time.Duration(n) * time.Millisecond
	}
	options := []kgo.Opt{
		kgo.ConsumerGroup(words["group"]), kgo.ConsumeTopics(m.topic), kgo.Balancers(balancers[words["assignor"]]()),
		kgo.SessionTimeout(ms("session")), kgo.HeartbeatInterval(ms("heartbeat")), kgo.RebalanceTimeout(time.Minute),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(),
		kgo.OnPartitionsAssigned(func(_ context.Context, c *kgo.Client, at map[string][]int32) {
			_, generation := c.GroupMetadata()
			m.print("assigned", numbers(at[m.topic]), fmt.Sprintf("generation=%d", generation))
		}),
		kgo.OnPartitionsRevoked(func(ctx context.Context, c *kgo.Client, at map[string][]int32) {
			m.commit(ctx, c, func(p int32) bool { return slices.Contains(at[m.topic], p) })
			m.gone("revoked", at[m.topic])
		}),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, at map[string][]int32) { m.gone("lost", at[m.topic]) }),
	}
	if instance := words["instance"]; instance != "" {
		options = append(options, kgo.InstanceID(instance))
	}
	if words["protocol"] == "consumer" {
		options = append(options, kgo.ServerSideBalancer())
	}
	return options
}

func (m *groupMember) live(ctx context.Context, c *kgo.Client) error {
	for committed := time.Now(); ctx.Err() == nil; c.AllowRebalance() {
		quiet, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		fetches := c.PollFetches(quiet)
		cancel()
		for _, failed := range fetches.Errors() {
			if kerr.IsRetriable(failed.Err) || failed.Err == context.DeadlineExceeded || failed.Err == context.Canceled {
				continue
			}
			if fenced(failed.Err) {
				return failed.Err
			}
			m.print("trouble", failed.Err.Error())
		}
		m.consumed(fetches)
		if time.Since(committed) >= commitEvery && len(m.due) > 0 {
			if err := m.commit(ctx, c, func(int32) bool { return true }); fenced(err) {
				return err
			}
			committed = time.Now()
		}
	}
	return nil
}

func fenced(err error) bool {
	return err != nil && strings.Contains(err.Error(), kerr.FencedInstanceID.Message)
}

func (m *groupMember) consumed(fetches kgo.Fetches) {
	var ranges []string
	fetches.EachPartition(func(p kgo.FetchTopicPartition) {
		if len(p.Records) == 0 {
			return
		}
		first, last := p.Records[0].Offset, p.Records[len(p.Records)-1].Offset
		ranges = append(ranges, fmt.Sprintf("%d:%d-%d", p.Partition, first, last))
		m.due[p.Partition] = last + 1
	})
	if len(ranges) > 0 {
		m.print("consumed", strings.Join(ranges, ","))
	}
}

// commit commits where to go on in the partitions asked for; what is refused stays due.
func (m *groupMember) commit(ctx context.Context, c *kgo.Client, asked func(int32) bool) error {
	offsets, said := map[int32]kgo.EpochOffset{}, []string{}
	for p, offset := range m.due {
		if asked(p) {
			offsets[p] = kgo.EpochOffset{Epoch: -1, Offset: offset}
			said = append(said, fmt.Sprintf("%d:%d", p, offset))
		}
	}
	if len(offsets) == 0 {
		return nil
	}
	m.print("commit", strings.Join(said, ","))
	var failed error
	c.CommitOffsetsSync(ctx, map[string]map[int32]kgo.EpochOffset{m.topic: offsets},
		func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, answer *kmsg.OffsetCommitResponse, err error) {
			if failed = err; err == nil {
				failed = refusal(answer)
			}
		})
	if failed != nil {
		m.print("uncommitted", failed.Error())
		return failed
	}
	m.print("committed", strings.Join(said, ","))
	for p, at := range offsets {
		if m.due[p] == at.Offset {
			delete(m.due, p)
		}
	}
	return nil
}

// refusal is the first error of a partition.
func refusal(answer *kmsg.OffsetCommitResponse) error {
	for _, topic := range answer.Topics {
		for _, partition := range topic.Partitions {
			if err := kerr.ErrorForCode(partition.ErrorCode); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m *groupMember) gone(how string, partitions []int32) {
	for _, p := range partitions {
		delete(m.due, p)
	}
	m.print(how, numbers(partitions))
}

func (m *groupMember) print(words ...string) {
	m.say.Lock()
	defer m.say.Unlock()
	line := strings.ReplaceAll(strings.Join(words, " "), "\n", " ")
	fmt.Fprintf(os.Stdout, "%d %s\n", time.Now().UnixMilli(), line)
}

func numbers(partitions []int32) string {
	if len(partitions) == 0 {
		return "-"
	}
	words := make([]string, len(partitions))
	for i, p := range partitions {
		words[i] = strconv.Itoa(int(p))
	}
	return strings.Join(words, ",")
}
