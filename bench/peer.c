/* Peers: bench/peers.py as a process, which does one step for each line that it is sent and answers with its time. */
#include "bench/bench.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct Peer {
    pid_t process;
    FILE *to, *from;
};

static void become_peer(const char *python, const char *name, const char *what, int threads, int64_t weights, const int *in,
                        const int *out)
{
    char thread_count[16], weight_count[32];
    snprintf(thread_count, sizeof thread_count, "%d", threads);
    snprintf(weight_count, sizeof weight_count, "%lld", (long long)weights);
    dup2(in[0], 0);
    dup2(out[1], 1);
    close(in[0]), close(in[1]), close(out[0]), close(out[1]);
    execlp(python, python, CM_SOURCE_DIR "/bench/peers.py", name, what, thread_count, weight_count, (char *)NULL);
    _exit(127);
}

static bool read_line(Peer *peer, char *line, size_t size)
{
    if (!fgets(line, (int)size, peer->from))
        return false;
    line[strcspn(line, "\n")] = 0;
    return true;
}

Peer *peer_start(const char *python, const char *name, const char *what, int threads, int64_t weights, char *version,
                 size_t version_size)
{
    int in[2], out[2];
    if (pipe(in) || pipe(out))
        return NULL;
    pid_t process = fork();
    if (process == 0)
        become_peer(python, name, what, threads, weights, in, out);
    close(in[0]), close(out[1]);
    if (process < 0) {
        close(in[1]), close(out[0]);
        return NULL;
    }
    signal(SIGPIPE, SIG_IGN); /* a peer that has ended is found out by what it does not answer */
    Peer *peer = malloc(sizeof *peer);
    if (!peer)
        abort();
    *peer = (Peer){process, fdopen(in[1], "w"), fdopen(out[0], "r")};
    if (read_line(peer, version, version_size))
        return peer;
    peer_stop(peer);
    return NULL;
}

double peer_step(Peer *peer)
{
    char line[64];
    fputs("step\n", peer->to);
    fflush(peer->to);
    return read_line(peer, line, sizeof line) ? atof(line) : -1;
}

void peer_stop(Peer *peer)
{
    fclose(peer->to);
    fclose(peer->from);
    waitpid(peer->process, NULL, 0);
    free(peer);
}
