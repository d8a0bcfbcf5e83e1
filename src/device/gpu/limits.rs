//! What is asked of an adapter, by what it offers and what the user chose.

use super::super::limits::LimitsChoice;

/// What to ask of an adapter that offers `offered`.
///
/// # Errors
/// When it does not offer as much.
pub(super) fn wanted(choice: LimitsChoice, offered: &wgpu::Limits) -> Result<wgpu::Limits, String> {
    match choice {
        LimitsChoice::Adapter => Ok(offered.clone()),
        LimitsChoice::WebGpu => webgpu(offered),
        LimitsChoice::Alignment(bytes) => {
            let needed = offered
                .min_storage_buffer_offset_alignment
                .max(offered.min_uniform_buffer_offset_alignment);
            if bytes < needed {
                return Err(format!(
                    "--limits alignment:{bytes} asks for slices that begin at multiples of \
                     {bytes} bytes, and the adapter needs {needed} or more"
                ));
            }
            Ok(wgpu::Limits {
                min_storage_buffer_offset_alignment: bytes,
                min_uniform_buffer_offset_alignment: bytes,
                ..offered.clone()
            })
        }
    }
}

/// WebGPU's defaults.
fn webgpu(offered: &wgpu::Limits) -> Result<wgpu::Limits, String> {
    let asked = wgpu::Limits::default();
    let mut lacking = Vec::new();
    asked.check_limits_with_fail_fn(offered, false, |name, asked, offered| {
        lacking.push(format!("{name} {offered} of {asked}"));
    });
    match lacking.is_empty() {
        true => Ok(asked),
        false => Err(format!(
            "it offers less than WebGPU guarantees: {}",
            lacking.join(", ")
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_asked_for_what_was_chosen_and_no_more() {
        let offered = wgpu::Limits {
            max_storage_buffers_per_shader_stage: 64,
            max_storage_buffer_binding_size: 1 << 31,
            min_storage_buffer_offset_alignment: 32,
            min_uniform_buffer_offset_alignment: 64,
            ..wgpu::Limits::default()
        };
        assert_eq!(wanted(LimitsChoice::Adapter, &offered), Ok(offered.clone()));
        let asked = wanted(LimitsChoice::WebGpu, &offered).unwrap();
        assert_eq!(asked.max_storage_buffers_per_shader_stage, 8);
        assert_eq!(asked.max_storage_buffer_binding_size, 128 << 20);
        assert_eq!(asked.min_storage_buffer_offset_alignment, 256);
        let asked = wanted(LimitsChoice::Alignment(128), &offered).unwrap();
        assert_eq!(asked.min_storage_buffer_offset_alignment, 128);
        assert_eq!(asked.min_uniform_buffer_offset_alignment, 128);
        assert_eq!(asked.max_storage_buffers_per_shader_stage, 64);
        let refused = wanted(LimitsChoice::Alignment(32), &offered).unwrap_err();
        assert!(refused.ends_with("needs 64 or more"), "{refused}");
        let small = wgpu::Limits {
            max_compute_workgroups_per_dimension: 100,
            ..offered
        };
        let refused = wanted(LimitsChoice::WebGpu, &small).unwrap_err();
        assert!(
            refused.contains("max_compute_workgroups_per_dimension 100 of 65535"),
            "{refused}"
        );
    }
}
