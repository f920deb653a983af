# Logs in through hearth-web as a page does, with the account and password that are given; prints CONNACK's reason code.
use strict;
use warnings;
use IO::Socket::INET;

my ($account, $password) = @ARGV;
my $socket = IO::Socket::INET->new(PeerAddr => "127.0.0.1:8080", Timeout => 10) or die "connect: $@";
print $socket join("\r\n", "GET /mqtt HTTP/1.1", "Host: localhost:8080", "Origin: http://localhost:8080",
    "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Protocol: mqtt",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "", "");
$socket->flush;
my $head = "";
while ($head !~ /\r\n\r\n$/) { sysread($socket, $head, 1, length $head) or die "no handshake: $head"; }
$head =~ /^HTTP\/1.1 101 / or die $head;
my $body = pack("n/a* C C n C n/a* n/a* n/a*", "MQTT", 5, 0xC2, 30, 0, "web-test", $account, $password);
my $connect = pack("C C a*", 0x10, length $body, $body);
# One binary frame whose mask is nought (RFC 6455, 5.2).
syswrite($socket, pack("C C N a*", 0x82, 0x80 | length $connect, 0, $connect));
my $answer = "";
while (length $answer < 6) { sysread($socket, $answer, 64, length $answer) or die "no answer"; }
my (undef, undef, $type, undef, undef, $code) = unpack("C6", $answer);
$type == 0x20 or die "no CONNACK";
printf "0x%02x\n", $code;
