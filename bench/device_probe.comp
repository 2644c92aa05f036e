// Fused multiply-adds from registers: 32 sums a thread, enough to hide the latency.
#version 450
layout(local_size_x = 128) in;
layout(set = 0, binding = 0) buffer Left { float left[]; };
layout(push_constant) uniform Rounds { uint rounds; };

void main() {
  vec4 a = vec4(0.1), b = vec4(0.2), c = vec4(0.3), d = vec4(0.4), e = vec4(0.5), f = vec4(0.6), g = vec4(0.7), h = vec4(0.8);
  // Known at run time only.
  vec4 x = vec4(0.999) + vec4(left[0]), y = vec4(0.001) + vec4(left[1]);
  for (uint i = 0u; i < rounds; i++) {
    a = fma(a, x, y);
    b = fma(b, x, y);
    c = fma(c, x, y);
    d = fma(d, x, y);
    e = fma(e, x, y);
    f = fma(f, x, y);
    g = fma(g, x, y);
    h = fma(h, x, y);
  }
  vec4 sum = a + b + c + d + e + f + g + h;
  // Something has to be left, though it never is.
  if (sum.x + sum.y + sum.z + sum.w == 1.0) left[2] = sum.x;
}
