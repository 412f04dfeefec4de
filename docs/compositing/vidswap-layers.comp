Composition {
	CurrentTime = 1001,
	RenderRange = { 1001, 1100 },
	GlobalRange = { 1001, 1100 },
	HiQ = true,
	PlaybackUpdateMode = 0,
	Tools = ordered() {
		Plate = Loader {
			Clips = {
				Clip {
					ID = "Clip1",
					Filename = "plate/shot.1001.exr",
					FormatID = "OpenEXRFormat",
					StartFrame = 1001,
					Length = 100,
					TrimIn = 0,
					TrimOut = 99,
					GlobalStart = 1001,
					GlobalEnd = 1100
				}
			},
			ViewInfo = OperatorInfo { Pos = { 0, 0 } },
		},
		Face = Loader {
			Clips = {
				Clip {
					ID = "Clip1",
					Filename = "layers/shot.1001.exr",
					FormatID = "OpenEXRFormat",
					StartFrame = 1001,
					Length = 100,
					TrimIn = 0,
					TrimOut = 99,
					GlobalStart = 1001,
					GlobalEnd = 1100
				}
			},
			Inputs = {
				["Clip1.OpenEXRFormat.RedName"] = Input { Value = FuID { "face.R" }, },
				["Clip1.OpenEXRFormat.GreenName"] = Input { Value = FuID { "face.G" }, },
				["Clip1.OpenEXRFormat.BlueName"] = Input { Value = FuID { "face.B" }, },
				["Clip1.OpenEXRFormat.AlphaName"] = Input { Value = FuID { "face.A" }, },
			},
			ViewInfo = OperatorInfo { Pos = { 0, 66 } },
		},
		FaceGrade = ColorCorrector {
			Inputs = {
				Input = Input {
					SourceOp = "Face",
					Source = "Output",
				},
				PreDividePostMultiply = Input { Value = 1, },
			},
			ViewInfo = OperatorInfo { Pos = { 110, 66 } },
		},
		Recomposed = Merge {
			Inputs = {
				Background = Input {
					SourceOp = "Plate",
					Source = "Output",
				},
				Foreground = Input {
					SourceOp = "FaceGrade",
					Source = "Output",
				},
				PerformDepthMerge = Input { Value = 0, },
			},
			ViewInfo = OperatorInfo { Pos = { 220, 0 } },
		},
		Result = Loader {
			Clips = {
				Clip {
					ID = "Clip1",
					Filename = "layers/shot.1001.exr",
					FormatID = "OpenEXRFormat",
					StartFrame = 1001,
					Length = 100,
					TrimIn = 0,
					TrimOut = 99,
					GlobalStart = 1001,
					GlobalEnd = 1100
				}
			},
			Inputs = {
				["Clip1.OpenEXRFormat.RedName"] = Input { Value = FuID { "R" }, },
				["Clip1.OpenEXRFormat.GreenName"] = Input { Value = FuID { "G" }, },
				["Clip1.OpenEXRFormat.BlueName"] = Input { Value = FuID { "B" }, },
				["Clip1.OpenEXRFormat.AlphaName"] = Input { Value = FuID { "A" }, },
			},
			ViewInfo = OperatorInfo { Pos = { 0, 132 } },
		},
		Check = Merge {
			Inputs = {
				Background = Input {
					SourceOp = "Recomposed",
					Source = "Output",
				},
				Foreground = Input {
					SourceOp = "Result",
					Source = "Output",
				},
				ApplyMode = Input { Value = FuID { "Difference" }, },
				PerformDepthMerge = Input { Value = 0, },
			},
			ViewInfo = OperatorInfo { Pos = { 330, 66 } },
		}
	}
}
