# Runs /guest/command in a guest and reports on three serial ports: 1 is its stdout, 2 its stderr, 3 how it ended. Read in by
# whatever starts commands there: the init of small guests, and a unit of a node.

# The ports appear a moment after their driver.
tries=0
while [ $tries -lt 500 ] && [ ! -c /dev/vport0p1 -o ! -c /dev/vport0p2 -o ! -c /dev/vport0p3 ]; do
    sleep 0.01
    tries=$((tries + 1))
done

# A port opens once only; behind a pipe, /dev/stdout and /dev/stderr work as everywhere.
mkfifo /guest/out /guest/err
cat /guest/out > /dev/vport0p1 &
out_reader=$!
cat /guest/err > /dev/vport0p2 &
err_reader=$!

exec 9> /dev/vport0p3
echo started >&9
sh /guest/command < /dev/null > /guest/out 2> /guest/err 9>&-
status=$?

# A daemon left behind may hold the pipes open: then the readers are given two seconds.
tries=0
while [ $tries -lt 100 ] && { kill -0 $out_reader || kill -0 $err_reader; } 2> /dev/null; do
    sleep 0.02
    tries=$((tries + 1))
done
echo "exited $status" >&9
