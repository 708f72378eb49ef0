# Kills the servers of a stack when the process at the other end of standard input ends, however it ends.
#
# Reads lines "add PID START_TICKS" (a server to kill) and "release" (leave all running). $1: a folder to delete afterwards, or nothing.
servers=""
while read -r verb pid start_ticks; do
    case "$verb" in
    add) servers="$servers $pid:$start_ticks" ;;
    release) exit 0 ;;
    esac
done

for server in $servers; do
    pid=${server%%:*}
    # Field 22 of stat is the time of the start; a later process with the same number has another.
    start_ticks=$(sed 's/^.*) //' "/proc/$pid/stat" 2>/dev/null | cut -d ' ' -f 20)
    [ "$start_ticks" = "${server#*:}" ] || continue
    # Some servers give their children groups of their own, so these are killed by number.
    children=$(cat /proc/[0-9]*/stat 2>/dev/null | sed -n "s/^\([0-9]*\) (.*) [A-Za-z] $pid .*/\1/p")
    kill -s KILL -- "-$pid" $children 2>/dev/null
done

[ -n "$1" ] || exit 0
# What was killed may still be closing its files.
for _ in 1 2 3 4 5 6 7 8 9 10; do
    rm -rf -- "$1" 2>/dev/null && exit 0
    sleep 0.2
done
