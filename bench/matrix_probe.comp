// Products of matrices from registers: each subgroup has eight sums, enough to hide the latency.
#version 450
#extension GL_KHR_memory_scope_semantics : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#ifdef MATRICES_KHR
#extension GL_KHR_cooperative_matrix : require
#define MatrixA coopmat<float16_t, gl_ScopeSubgroup, M, K, gl_MatrixUseA>
#define MatrixB coopmat<float16_t, gl_ScopeSubgroup, K, N, gl_MatrixUseB>
#define MatrixC coopmat<float, gl_ScopeSubgroup, M, N, gl_MatrixUseAccumulator>
#define multiply_add coopMatMulAdd
#define store(c) coopMatStore(c, left, 64, N, gl_CooperativeMatrixLayoutRowMajor)
#else
#extension GL_NV_cooperative_matrix : require
#define MatrixA fcoopmatNV<16, gl_ScopeSubgroup, M, K>
#define MatrixB fcoopmatNV<16, gl_ScopeSubgroup, K, N>
#define MatrixC fcoopmatNV<32, gl_ScopeSubgroup, M, N>
#define multiply_add coopMatMulAddNV
#define store(c) coopMatStoreNV(c, left, 64, N, false)
#endif
layout(constant_id = 0) const int M = 16;
layout(constant_id = 1) const int N = 16;
layout(constant_id = 2) const int K = 16;
layout(local_size_x_id = 3) in;
layout(set = 0, binding = 0) buffer Left { float left[]; };
layout(push_constant) uniform Rounds { uint rounds; };

void main() {
  // Known at run time only.
  MatrixA x = MatrixA(float16_t(0.5 + left[0]));
  MatrixB y = MatrixB(float16_t(0.001 + left[1]));
  MatrixC a = MatrixC(0.1), b = MatrixC(0.2), c = MatrixC(0.3), d = MatrixC(0.4);
  MatrixC e = MatrixC(0.5), f = MatrixC(0.6), g = MatrixC(0.7), h = MatrixC(0.8);
  for (uint i = 0u; i < rounds; i++) {
    a = multiply_add(x, y, a);
    b = multiply_add(x, y, b);
    c = multiply_add(x, y, c);
    d = multiply_add(x, y, d);
    e = multiply_add(x, y, e);
    f = multiply_add(x, y, f);
    g = multiply_add(x, y, g);
    h = multiply_add(x, y, h);
  }
  MatrixC sum = a + b + c + d + e + f + g + h;
  // Something has to be left, though it never is.
  if (rounds == 0xffffffffu) store(sum);
}
