# Runs what comes over the first serial line, and says after each line how it ended.
exec </dev/ttyAMA0 >/dev/ttyAMA0 2>&1
stty -echo -onlcr
echo '@@ exit 0'
while read -r line; do
    sh -c "$line" </dev/null 2>&1
    echo "@@ exit $?"
done
