#!/bin/busybox sh
# The first process of a test guest: loads the network driver and configures its address, which is
# the kernel parameter `address` or, if that is `dhcp`, what a server gives it. Then it is
# a shell for a person (kernel parameter `interactive`), or carries out one command per line of the
# serial console and closes each answer with a line "@@ <exit code>".
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
while read -r module; do insmod "/modules/$module"; done </modules/order
ip link set lo up
address=$(sed -n 's/.*address=\([^ ]*\).*/\1/p' /proc/cmdline)
echo 0 >/proc/sys/net/ipv6/conf/eth0/accept_dad
ip link set eth0 up
if [ "$address" = dhcp ]; then
  udhcpc -i eth0 -s /dhcp -n -q -t 20 -T 1
  address=$(sed -n 's/ip=\([^ ]*\) .*/\1/p' /tmp/lease)
else
  ip address add "$address" dev eth0
fi
number=${address##*.}
ip -6 address add "fd00::${number%/*}/64" dev eth0
if grep -q interactive /proc/cmdline; then
  echo "This guest is $address."
  setsid cttyhack sh
  poweroff -f
fi
exec </dev/ttyS0 >/dev/ttyS0 2>&1
stty -echo -onlcr
echo "@@ ready"
while read -r line; do
  eval "$line" </dev/null
  echo "@@ $?"
done
poweroff -f
