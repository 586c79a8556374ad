"""Histories made by hand, two partitions and a session of six seconds each, to hold the judge of history.py to: good ones, and bad ones
with words of the one complaint that each must bring."""

HEAD = "0 - group 2 6000\n"

# A member that owns both partitions and has committed 10 of each.
ALONE = HEAD + """
0 - disturbed 10000 start
10 a started
1000 a assigned 0,1 generation=1
1100 a consumed 0:0-9,1:0-9
1200 a commit 0:10,1:10
1210 a committed 0:10,1:10
2000 - settled
"""

# Another joins and takes partition 1, as an assignor that moves little does it.
JOINED = ALONE + """
2500 - disturbed 10000 add
2600 b started
3000 a revoked 1
3010 b assigned 1
3100 a consumed 0:10-19
3100 b consumed 1:10-19
3200 a commit 0:20
3200 b commit 1:20
3210 a committed 0:20
3210 b committed 1:20
3300 - settled
"""

ENDED = """
90000 - produced 0 20
90000 - produced 1 20
90001 - offset 0 20
90001 - offset 1 20
"""

# `a` falls silent at 4000 and its partition goes to `b` when its session is over.
TAKEN = JOINED + """
4000 - disturbed 20000 silence
4000 a %s
10100 b assigned 0
10200 b consumed 0:20-29
10300 b commit 0:30
10310 b committed 0:30
"""

GOOD = {
    "one member": ALONE + ENDED.replace(" 20", " 10"),
    "a second one": JOINED + ENDED,
    "killed": TAKEN % "killed" + ENDED.replace("0 20", "0 30"),
    "asleep, and awake again": TAKEN % "stopped" + """
11000 - settled
11100 - disturbed 10000 wake
11100 a woken
11150 a consumed 0:20-24
11160 a commit 0:25
11170 a uncommitted UNKNOWN_MEMBER_ID
11200 a lost 0
11300 b revoked 1
11310 a assigned 1
11320 a consumed 1:20-29
11320 b consumed 0:30-39
11400 b commit 0:40
11400 a commit 1:30
11410 b committed 0:40
11410 a committed 1:30
""" + ENDED.replace("0 20", "0 40").replace("1 20", "1 30"),
    "a commit from before the sleep, heard of after it": JOINED + """
3990 a consumed 0:20-24
3999 a commit 0:25
4000 - disturbed 20000 silence
4000 a stopped
10100 b assigned 0
10200 b consumed 0:25-29
10300 b commit 0:30
10310 b committed 0:30
10900 - settled
11000 - disturbed 10000 wake
11000 a woken
11001 a committed 0:25
11002 a lost 0
11003 a assigned -
11100 b consumed 0:30-30
11110 b commit 0:31
11120 b committed 0:31
""" + ENDED.replace("0 20", "0 31"),
    "a static member back at once": JOINED + """
4000 - disturbed 10000 bounce a2
4000 a killed
4001 a replaced
4002 a2 started
4500 a2 assigned 0
4600 a2 consumed 0:20-29
4600 b consumed 1:20-29
4700 a2 commit 0:30
4700 b commit 1:30
4710 a2 committed 0:30
4710 b committed 1:30
4800 - settled
""" + ENDED.replace(" 20", " 30"),
    "read twice from the last commit": JOINED + """
4000 - disturbed 10000 leave
4000 b consumed 1:20-29
4010 b lost 1
4011 b closed
4100 a assigned 1
4200 a consumed 1:20-29
4210 a commit 1:30
4220 a committed 1:30
""" + ENDED.replace("1 20", "1 30"),
}

BAD = {
    "two owners": (JOINED + "3400 b assigned 0\n" + ENDED, "two own partition 0: a too"),
    "taken too early": (JOINED + """
4000 - disturbed 20000 silence
4000 a killed
6000 b assigned 0
6200 b consumed 0:20-29
6300 b commit 0:30
6310 b committed 0:30
""" + ENDED.replace("0 20", "0 30"), "silent for 2000 ms only"),
    "read below a commit": (JOINED.replace("3100 b consumed 1:10-19", "3100 b consumed 1:9-19") + ENDED, "below 10, which was committed"),
    "begun above any commit": (ALONE + """
2500 - disturbed 10000 restart
2600 a revoked 0,1
2700 a assigned 0,1
2800 a consumed 0:12-19,1:10-19
2900 a commit 0:20,1:20
2910 a committed 0:20,1:20
""" + "1150 a consumed 0:10-11\n" + ENDED, "above 10: nobody committed that"),
    "a gap": (JOINED + """
3400 a consumed 0:21-29
3500 a revoked 0
3501 a assigned 0
3502 a consumed 0:20-29
3503 a commit 0:30
3504 a committed 0:30
""" + ENDED.replace("0 20", "0 30"), "goes on at 21, not at 20"),
    "a repetition": (JOINED + "3400 a consumed 0:15-19\n" + ENDED, "goes on at 15, not at 20"),
    "consumed what another owns": (JOINED + "3400 b consumed 0:10-19\n" + ENDED, "which it does not own"),
    "a late commit acknowledged": (TAKEN % "stopped" + """
11000 - settled
11100 - disturbed 10000 wake
11100 a woken
11150 a consumed 0:20-24
11160 a commit 0:25
11170 a committed 0:25
11200 a lost 0
11300 a assigned -
11310 b commit 0:30
11320 b committed 0:30
""" + ENDED.replace("0 20", "0 30"), "was let commit partition 0, of b by then"),
    "an offset that nobody read": (JOINED + ENDED.replace("produced 1 20", "produced 1 21").replace("offset 1 20", "offset 1 21"),
                                   "partition 1: nobody consumed 20, of 21"),
    "a record that nobody wrote": (JOINED + ENDED.replace("1 20", "1 19"), "consumed beyond its end 19"),
    "a commit gone in the end": (JOINED + ENDED.replace("offset 1 20", "offset 1 10"), "committed is 10, its end 20"),
    "a partition without an owner": (JOINED + "4000 - disturbed 5000 leave\n4010 b revoked 1\n4011 b closed\n9500 - settled\n" + ENDED,
                                     "no member that lives owns [1]"),
    "a member without an assignment": (JOINED + "4000 - disturbed 5000 add\n4010 c started\n9500 - settled\n" + ENDED,
                                       "without an assignment: ['c']"),
    "an owner whose commits are not heard": (JOINED + "4000 - disturbed 5000 broker\n4100 a commit 0:20\n4110 a committed 0:20\n"
                                             "9500 - settled\n" + ENDED, "no commit was acknowledged to ['b']"),
    "settled too late": (TAKEN.replace("20000", "5000") % "killed" + ENDED.replace("0 20", "0 30"), "settled only"),
    "moved though it had to be left alone": (JOINED + """
4000 - disturbed 10000 bounce a2
4000 a killed
4001 a replaced
4002 a2 started
4500 a2 assigned 0
4510 b assigned -
4600 a2 consumed 0:20-29
4600 b consumed 1:20-29
4700 a2 commit 0:30
4700 b commit 1:30
4710 a2 committed 0:30
4710 b committed 1:30
4800 - settled
""" + ENDED.replace(" 20", " 30"), "had to be left alone"),
    "a member that failed": (ALONE + "3000 - disturbed 9000 add\n3100 b started\n3200 b failed UNKNOWN_SERVER_ERROR\n"
                             "3300 a commit 0:10\n3310 a committed 0:10\n" + ENDED.replace(" 20", " 10"), "failed: UNKNOWN_SERVER_ERROR"),
}
