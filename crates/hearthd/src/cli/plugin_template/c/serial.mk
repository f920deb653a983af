# Builds my-lamp and tries it without a hub: `make`, `make test`.
# The headers are those of the SDK; `make INCLUDE=DIR` takes others.
INCLUDE = @include@
HEARTHD = hearthd

my-lamp.so: plugin.c
	$(CC) -std=c99 -Wall -Wextra -g -fPIC -pthread -I "$(INCLUDE)" $(CPPFLAGS) $(CFLAGS) -shared $(LDFLAGS) -o $@ plugin.c

build/board: board.c
	mkdir -p build
	$(CC) -std=c99 -Wall -Wextra -g -pthread $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ board.c

test: my-lamp.so build/board
	build/board build/test.toml $(HEARTHD) plugin try ./my-lamp.so --config build/test.toml --script test.txt

clean:
	rm -rf build my-lamp.so

.PHONY: test clean
