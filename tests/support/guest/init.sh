#!/bin/busybox sh
# The first process of a test guest: loads the network driver, then carries out one command per line
# of the serial console and closes each answer with a line "@@ <exit code>".
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
while read -r module; do insmod "/modules/$module"; done </modules/order
ip link set lo up
exec </dev/ttyS0 >/dev/ttyS0 2>&1
stty -echo -onlcr
echo "@@ ready"
while read -r line; do
  eval "$line" </dev/null
  echo "@@ $?"
done
poweroff -f
