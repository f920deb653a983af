# Tries what the hub must and must not be able to do. Each line of output: what was tried, and whether it was allowed.
use strict;
use warnings;
use Socket;

my $state = '/var/lib/hearthd';
$| = 1;

sub attempt {
    my ($what, $action) = @_;
    $! = 0;
    my $done = $action->();
    print "$what: ", ($done ? 'allowed' : "denied ($!)"), "\n";
}

sub reads {
    my ($path) = @_;
    open(my $file, '<', $path) or return 0;
    return defined readline $file;
}
sub lists { my ($path) = @_; return opendir(my $folder, $path) }
sub writes { my ($path) = @_; return open(my $file, '>>', $path) }
sub creates {
    my ($path) = @_;
    return writes($path) && unlink $path;
}
# System calls by number, as x86_64 has them; -1 is a failure.
sub call { return syscall($_[0], @_[1 .. $#_]) != -1 }
# In a process of its own, since what succeeds has to be undone.
sub apart {
    my ($action) = @_;
    my $child = fork // die "fork: $!";
    if (!$child) { my $done = $action->(); exit($done ? 0 : $! + 0 || 255) }
    waitpid $child, 0;
    $! = $? >> 8;
    return $? == 0;
}
sub runs {
    my ($program) = @_;
    no warnings 'exec';
    return apart(sub { exec {$program} $program or return 0 });
}

attempt 'write below /etc', sub { creates('/etc/hearthd/probe') };
attempt 'write below /usr', sub { creates('/usr/lib/hearthd/plugins/probe') };
attempt 'read a home', sub { reads('/home/someone/diary') };
attempt 'read the password file', sub { reads('/etc/hearthd/mqtt-password') };
attempt 'list the state of the broker', sub { lists('/var/lib/hearth-broker') };
attempt 'list /var/log', sub { lists('/var/log') };
attempt 'see the first process', sub { reads('/proc/1/comm') };
attempt 'set a parameter of the kernel', sub { writes('/proc/sys/net/ipv4/ip_forward') };
attempt 'make a control group', sub {
    mkdir "/sys/fs/cgroup/probe-$$" or return 0;
    rmdir "/sys/fs/cgroup/probe-$$";
    return 1;
};
attempt 'run a program from the state', sub {
    system('cp', '/usr/bin/true', "$state/probe") == 0 or die "copy a program: $?";
    my $ran = runs("$state/probe");
    my $why = $!;
    unlink "$state/probe";
    $! = $why;
    return $ran;
};
attempt 'be traced', sub { apart(sub { call(101, 0, 0, 0, 0) }) };
attempt 'open a raw socket', sub { socket(my $socket, PF_INET, SOCK_RAW, 1) };
attempt 'open a netlink socket', sub { socket(my $socket, 16, SOCK_RAW, 0) };
attempt 'map memory both writable and executable', sub { call(9, 0, 4096, 7, 0x22, -1, 0) };
attempt 'make a namespace', sub { apart(sub { call(272, 0x20000) }) };
attempt 'make a file set-user-ID', sub {
    writes("$state/probe") or die "write to the state: $!";
    my $changed = chmod 04755, "$state/probe";
    my $why = $!;
    unlink "$state/probe";
    $! = $why;
    return $changed;
};
# It keeps its name: the hub is called after it.
attempt 'name the machine', sub {
    open(my $file, '<', '/proc/sys/kernel/hostname') or die "read the name: $!";
    chomp(my $name = readline $file);
    return call(170, $name, length $name);
};

attempt 'it may write to its state', sub { creates("$state/probe") };
attempt 'it may run a program of the system', sub { runs('/usr/bin/true') };
attempt 'it may run code from the folder of its plugins', sub {
    system('cp', '/usr/bin/true', "$state/plugins/probe") == 0 or die "copy a program: $?";
    my $ran = runs("$state/plugins/probe");
    unlink "$state/plugins/probe";
    return $ran;
};
attempt 'it may read its credential', sub {
    # A plain unit has none.
    return reads(($ENV{CREDENTIALS_DIRECTORY} // '/etc/hearthd') . '/mqtt-password');
};
attempt 'it may connect to the broker', sub {
    socket(my $socket, PF_INET, SOCK_STREAM, 0) or return 0;
    return connect($socket, pack_sockaddr_in(1883, inet_aton('127.0.0.1')));
};
