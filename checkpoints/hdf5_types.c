/* libhdf5's types for ours. */
#include "checkpoints/hdf5_parts.h"

hid_t clip_hdf5_type(enum clip_dtype dtype)
{
    switch (dtype) {
    case CLIP_F32: return H5Tcopy(H5T_IEEE_F32LE);
    case CLIP_I32: return H5Tcopy(H5T_STD_I32LE);
    case CLIP_I64: return H5Tcopy(H5T_STD_I64LE);
    case CLIP_U8: return H5Tcopy(H5T_STD_U8LE);
    case CLIP_F16:
    case CLIP_BF16: break;
    }
    int mantissa = dtype == CLIP_F16 ? 10 : 7, exponent = 15 - mantissa;
    hid_t type = H5Tcopy(H5T_IEEE_F32LE);
    if (H5Tset_fields(type, 15, (size_t)mantissa, (size_t)exponent, 0, (size_t)mantissa) < 0 ||
        H5Tset_size(type, 2) < 0 || H5Tset_ebias(type, (1u << (exponent - 1)) - 1) < 0) {
        H5Tclose(type);
        return -1;
    }
    return type;
}
